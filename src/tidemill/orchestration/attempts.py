"""Beginning a flow run: the first time, and again after it has ended or its process was lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tidemill import clock
from tidemill.exceptions import FlowRunIsLive
from tidemill.orchestration import lost_runs, processes
from tidemill.orchestration.proposing import Verdict, not_found, propose
from tidemill.records import Lease, NewFlowRun
from tidemill.states import AWAITING_RERUN, Running, State, StateType
from tidemill.store import Store, leases, reading, retried, writing

# In these states a process works on the run, and there must be one that holds it.
_WORKED_ON = frozenset({StateType.RUNNING, StateType.CANCELLING})


class Started(msgspec.Struct):
    """A flow run that was created or begun again: the verdict on the last state proposed.

    `existed` says whether it had been created before; `name` is then the name it got at that time. A verdict of REJECT
    has the state of a run that completed, with its result.
    """

    flow_run_id: str
    verdict: Verdict
    name: str
    attempt: int
    existed: bool = False


@retried
def create_flow_run(store: Store, run: NewFlowRun, states: Sequence[State[Any]], lease: Lease | None) -> Started:
    """Creates a flow run in the first of `states` and proposes the others, one after the other.

    If its flow has a run of the same idempotency key, that one is begun again in its place, in the last of `states`; one
    that has completed stays as it is.

    Args:
        lease: the claim of the process that will work on the run; recorded if it is not yet. Without one, a run that
            exists is left alone.

    Raises:
        FlowRunIsLive: there is a run of that key, and another process works on it.
    """
    now = clock.now()
    with store.transaction() as execute:
        if lease is not None:
            leases.ensure_lease(execute, lease)
        key = run.idempotency_key
        existing = None if key is None else writing.flow_run_with_key(execute, run.flow_name, key)
        if existing is not None:
            facts = writing.flow_run_facts(execute, existing)
            if facts is not None and (begun := _begun_before(execute, existing, facts, states[-1])) is not None:
                begun.existed = existing != run.id
                return begun
            return _begin(execute, existing, states[-1], lease)
        writing.insert_flow_run(execute, run, states[0], now)
        verdict = Verdict("ACCEPT", states[0])
        for state in states[1:]:
            verdict = propose(execute, run.id, state, lease.id if lease else None, attempt=None)
            if verdict.status != "ACCEPT":
                break
    return Started(run.id, verdict, run.name, verdict.attempt)


@retried
def begin_next_attempt(
    store: Store, flow_run_id: str, lease: Lease, *, again: bool = False, state: State[Any] | None = None
) -> Started:
    """Takes a flow run over under `lease` and proposes Running: after it ended, after its process was lost, or when nobody
    has begun it yet. One that has completed stays as it is.

    Args:
        again: begins also one that has completed.
        state: the Running state, where its id matters: who asks a second time, since the answer was lost, gets the same.

    Raises:
        FlowRunIsLive: another process works on it.
        ObjectNotFound: there is no such flow run.
    """
    state = state or Running()
    with store.transaction() as execute:
        leases.ensure_lease(execute, lease)
        facts = writing.flow_run_facts(execute, flow_run_id)
        if facts is not None and (begun := _begun_before(execute, flow_run_id, facts, state)) is not None:
            return begun
        if again and facts is not None and facts.state_type is StateType.COMPLETED:
            await_rerun(execute, flow_run_id, facts, None)
        return _begin(execute, flow_run_id, state, lease)


def await_rerun(execute: writing.Execute, flow_run_id: str, facts: writing.FlowRunFacts, message: str | None) -> None:
    """Takes a completed flow run out of that state, so that its next attempt can begin."""
    state = State[Any](type=StateType.SCHEDULED, name=AWAITING_RERUN, message=message)
    writing.write_flow_run_state(execute, flow_run_id, state, facts, None)


def free(execute: writing.Execute, flow_run_id: str, facts: writing.FlowRunFacts) -> writing.FlowRunFacts:
    """Takes a flow run from a process that is gone; gives the facts as they are then.

    Raises:
        FlowRunIsLive: a process works on it.
    """
    if facts.lease_id is not None:
        holder = leases.lease(execute, facts.lease_id)
        if holder is not None and not processes.is_gone(holder, clock.now()):
            raise _is_live(flow_run_id, facts.name, holder)
        if holder is not None:
            lost_runs.reclaim(execute, holder)
    elif facts.state_type in _WORKED_ON:
        lost_runs.end_lost(execute, flow_run_id, facts, "No process works on it any more.")
    else:
        return facts
    return writing.flow_run_facts(execute, flow_run_id) or facts


def _begun_before(execute: writing.Execute, flow_run_id: str, facts: writing.FlowRunFacts, state: State[Any]) -> Started | None:
    """What was answered when the run was begun in this very state; None: it was not."""
    if state.id is None:
        return None
    current = reading.flow_run(lambda sql, bindings: execute(sql, bindings).fetchall(), flow_run_id)
    if current is None or current.state_id != state.id:
        return None
    return Started(flow_run_id, Verdict("ACCEPT", current.state, attempt=facts.attempt), facts.name, facts.attempt, True)


def _begin(execute: writing.Execute, flow_run_id: str, state: State[Any], lease: Lease | None) -> Started:
    facts = writing.flow_run_facts(execute, flow_run_id)
    if facts is None:
        raise not_found(flow_run_id)
    if lease is None or facts.state_type is StateType.COMPLETED:
        current = reading.flow_run(lambda sql, bindings: execute(sql, bindings).fetchall(), flow_run_id)
        reason = f"Run is already {facts.state_type.value}."
        verdict = Verdict("REJECT", current.state if current else None, reason, attempt=facts.attempt)
    else:
        free(execute, flow_run_id, facts)
        verdict = propose(execute, flow_run_id, state, lease.id, attempt=None)
    return Started(flow_run_id, verdict, facts.name, verdict.attempt, existed=True)


def _is_live(flow_run_id: str, name: str, holder: Lease) -> FlowRunIsLive:
    since = clock.to_datetime(holder.acquired).isoformat(timespec="seconds")
    return FlowRunIsLive(
        f"Flow run {name!r} ({flow_run_id}) is at work: process {holder.pid} on host {holder.hostname}, which has run flows "
        f"since {since}, holds it. Wait until it has ended, or end it: tidemill flow-run cancel {flow_run_id}"
    )
