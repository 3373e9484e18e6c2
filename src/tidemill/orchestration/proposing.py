"""Proposing a state: the facts, the decision by the rules, and what is written, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tidemill import clock, rules
from tidemill.exceptions import ObjectNotFound
from tidemill.states import State, StateType
from tidemill.store import writing

Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

# Whoever finds a process gone leaves its runs in one of these states, held by nobody.
_ENDED_BY_OTHERS = frozenset({StateType.CRASHED, StateType.CANCELLED})


class Verdict(msgspec.Struct):
    """What became of a proposed state: the state written, if one was, or how long to wait, or why not."""

    status: str
    state: State[Any] | None = None
    reason: str | None = None
    delay_seconds: float = 0.0
    attempt: int = 0


def propose(
    execute: writing.Execute, flow_run_id: str, state: State[Any], lease_id: str | None, attempt: int | None
) -> Verdict:
    """Asks for a flow run to go into `state`; see `flow_runs.propose_flow_run_state`."""
    facts = writing.flow_run_facts(execute, flow_run_id)
    if facts is None:
        raise not_found(flow_run_id)
    if _was_taken(facts, lease_id, attempt):
        reason = "It was taken from this process, which was stopped, or did not renew its lease in time."
        return Verdict("ABORT", reason=reason, attempt=facts.attempt)
    decision = rules.decide(state, rule_facts(execute, flow_run_id, facts, state, lease_id, attempt))
    if decided := verdict_without_a_state(decision, facts.attempt):
        return decided
    assert isinstance(decision, rules.Accept | rules.Reject)
    if decision.state is not None:
        writing.write_flow_run_state(execute, flow_run_id, decision.state, facts, lease_id)
    return verdict_with(decision, facts.attempt + (decision.state is not None and decision.state.is_running()))


def verdict_without_a_state(decision: rules.Decision, attempt: int) -> Verdict | None:
    """The verdict of a decision by which no state is written; None if one may be."""
    if isinstance(decision, rules.Wait):
        return Verdict("WAIT", reason=decision.reason, delay_seconds=decision.delay_seconds, attempt=attempt)
    if isinstance(decision, rules.Abort):
        return Verdict("ABORT", reason=decision.reason, attempt=attempt)
    return None


def verdict_with(decision: rules.Accept | rules.Reject, attempt: int) -> Verdict:
    """The verdict of a decision that has the state written, if one was."""
    if isinstance(decision, rules.Accept):
        return Verdict("ACCEPT", decision.state, attempt=attempt)
    return Verdict("REJECT", decision.state, decision.reason, attempt=attempt)


def rule_facts(
    execute: writing.Execute,
    flow_run_id: str,
    facts: writing.FlowRunFacts,
    proposed: State[Any],
    lease_id: str | None = None,
    attempt: int | None = None,
) -> rules.Facts:
    """What the rules may know of a flow run."""
    may_be_retried = proposed.type is StateType.FAILED and facts.policy.retries > 0
    retries_made = writing.retries_made(execute, flow_run_id) if may_be_retried else 0
    held_by_another = lease_id is not None and facts.lease_id is not None and facts.lease_id != lease_id
    return rules.Facts(
        current=facts.state_type,
        now=clock.now(),
        run_count=facts.attempt,
        retries=facts.policy.retries,
        retries_made=retries_made,
        retry_delay=facts.policy.delay_before(retries_made + 1),
        scheduled_time=facts.scheduled_time,
        result_kept=facts.result_kept,
        transition_id=facts.transition_id,
        attempt_is_current=not held_by_another and attempt in (None, facts.attempt),
        details=facts.details,
        policy=facts.policy,
        is_subflow=facts.parent_task_run_id is not None,
        has_infrastructure=facts.infrastructure_pid is not None,
    )


def _was_taken(facts: writing.FlowRunFacts, lease_id: str | None, attempt: int | None) -> bool:
    """Whether the run that its process believes to work on was ended by others, who found that process gone."""
    if lease_id is None or attempt != facts.attempt or facts.lease_id is not None:
        return False
    return facts.state_type in _ENDED_BY_OTHERS


def not_found(flow_run_id: str) -> ObjectNotFound:
    """The error of whoever asks for a flow run that is not there."""
    return ObjectNotFound(f"There is no flow run {flow_run_id}; it may have been deleted. List them: tidemill flow-run ls")


def fetching(execute: writing.Execute) -> Fetch:
    """Reads within a transaction."""
    return lambda sql, bindings: execute(sql, bindings).fetchall()
