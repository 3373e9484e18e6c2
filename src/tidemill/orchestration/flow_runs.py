"""Operations on flow runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tidemill import clock, rules
from tidemill.exceptions import ObjectNotFound
from tidemill.records import Lease, NewFlowRun
from tidemill.states import State
from tidemill.store import Store, writing


class Verdict(msgspec.Struct):
    """What became of a proposed state: the state written, if one was, or how long to wait, or why not."""

    status: str
    state: State[Any] | None = None
    reason: str | None = None
    delay_seconds: float = 0.0
    attempt: int = 0


class Started(msgspec.Struct):
    """A flow run as it is after its creation: the verdict on the last state proposed."""

    flow_run_id: str
    verdict: Verdict


def create_flow_run(store: Store, run: NewFlowRun, states: Sequence[State[Any]], lease: Lease | None) -> Started:
    """Creates a flow run in the first of `states` and proposes the others, one after the other.

    Args:
        lease: the claim of the process that will work on the run; recorded if it is not yet.
    """
    now = clock.now()
    with store.transaction() as execute:
        if lease is not None:
            writing.ensure_lease(execute, lease)
        writing.insert_flow_run(execute, run, states[0], now)
        verdict = Verdict("ACCEPT", states[0])
        for state in states[1:]:
            verdict = _propose(execute, run.id, state, lease.id if lease else None, attempt=None)
            if verdict.status != "ACCEPT":
                break
    return Started(run.id, verdict)


def propose_flow_run_state(
    store: Store, flow_run_id: str, state: State[Any], *, lease_id: str | None = None, attempt: int | None = None
) -> Verdict:
    """Asks for a flow run to go into `state`.

    Args:
        lease_id: the claim of the process that works on the run, when it is that process that asks.
        attempt: the attempt that asks; a stale one is told to abort. None: an outsider asks.

    Raises:
        ObjectNotFound: there is no such flow run.
    """
    with store.transaction() as execute:
        return _propose(execute, flow_run_id, state, lease_id, attempt)


def delete_flow_run(store: Store, flow_run_id: str) -> list[str]:
    """Removes a flow run with its states, task runs and logs.

    Returns:
        The keys of the result files that now belong to nothing.

    Raises:
        ObjectNotFound: there is no such flow run.
    """
    with store.transaction() as execute:
        keys = writing.result_keys(execute, flow_run_id)
        if not writing.delete_flow_run(execute, flow_run_id):
            raise _not_found(flow_run_id)
    return keys


def renew_lease(store: Store, lease: Lease, seconds: float) -> None:
    """Extends a lease by `seconds` from now."""
    with store.transaction() as execute:
        writing.renew_lease(execute, lease.id, clock.now() + int(seconds * 1_000_000))


def release_lease(store: Store, lease: Lease) -> None:
    """Gives a lease back; its process works on no flow run any more."""
    with store.transaction() as execute:
        writing.delete_lease(execute, lease.id)


def _propose(
    execute: writing.Execute, flow_run_id: str, state: State[Any], lease_id: str | None, attempt: int | None
) -> Verdict:
    facts = writing.flow_run_facts(execute, flow_run_id)
    if facts is None:
        raise _not_found(flow_run_id)
    decision = rules.decide(state, _as_rule_facts(facts, lease_id, attempt))
    if isinstance(decision, rules.Wait):
        return Verdict("WAIT", reason=decision.reason, delay_seconds=decision.delay_seconds, attempt=facts.attempt)
    if isinstance(decision, rules.Abort):
        return Verdict("ABORT", reason=decision.reason, attempt=facts.attempt)
    if decision.state is not None:
        writing.write_flow_run_state(execute, flow_run_id, decision.state, facts, lease_id)
    status = "ACCEPT" if isinstance(decision, rules.Accept) else "REJECT"
    reason = None if isinstance(decision, rules.Accept) else decision.reason
    attempt_now = facts.attempt + (decision.state is not None and decision.state.is_running())
    return Verdict(status, decision.state, reason, attempt=attempt_now)


def _as_rule_facts(facts: writing.FlowRunFacts, lease_id: str | None, attempt: int | None) -> rules.Facts:
    held_by_another = lease_id is not None and facts.lease_id is not None and facts.lease_id != lease_id
    return rules.Facts(
        current=facts.state_type,
        now=clock.now(),
        run_count=facts.attempt,
        retries=facts.retries,
        retry_delay=facts.retry_delay,
        scheduled_time=facts.scheduled_time,
        result_kept=facts.result_kept,
        transition_id=facts.transition_id,
        attempt_is_current=not held_by_another and attempt in (None, facts.attempt),
    )


def _not_found(flow_run_id: str) -> ObjectNotFound:
    return ObjectNotFound(f"There is no flow run {flow_run_id}; it may have been deleted. List them: tidemill flow-run ls")
