"""What clients of the REST API ask of flow runs: those that run flows by themselves, with no lease of ours, and onlookers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from tidemill import clock, rules
from tidemill.orchestration import cancelling, lost_runs, mirroring, processes
from tidemill.orchestration.flows import no_flow
from tidemill.orchestration.proposing import (
    Verdict,
    fetching,
    not_found,
    propose,
    rule_facts,
    verdict_with,
    verdict_without_a_state,
)
from tidemill.records import FlowRun, NewFlowRun
from tidemill.side_records import NewFlowRunInput
from tidemill.states import CANCELLED, CANCELLING, PAUSED, SCHEDULED, Running, State, StateType
from tidemill.store import Store, flow_run_inputs, leases, reading, retried, writing

# By which clients of the field find the runs of a flow.
_FLOW_LABEL = "prefect.flow.id"


class Answer(msgspec.Struct, frozen=True):
    """What became of a proposed state: the verdict, the state in which the run is now, and whether it was written just now.

    `delay_seconds` are whole, and enough.
    """

    status: str
    state: State[Any] | None
    reason: str | None
    delay_seconds: int
    written: bool


class Registered(NamedTuple):
    """A run as it is there, and whether it was created just now."""

    run: FlowRun
    created: bool


@retried
def register_flow_run(store: Store, run: NewFlowRun, state: State[Any], labels: Mapping[str, Any]) -> Registered:
    """Creates a flow run in any state, which nobody here works on. If there is one of its id, or its flow has one of its
    idempotency key, that one stays as it is.

    Args:
        run: with `flow_id`; its parent flow run is that of its parent task run.
        labels: beside those of the flow.

    Raises:
        ObjectNotFound: there is no such flow.
    """
    with store.transaction() as execute:
        fetch = fetching(execute)
        flow = reading.flow(fetch, run.flow_id or "")
        if flow is None:
            raise no_flow(run.flow_id or "")
        existing = _existing(execute, flow.name, run)
        if existing is not None:
            return Registered(existing, False)
        run.labels = msgspec.json.encode({**flow.labels, _FLOW_LABEL: flow.id, **labels})
        if run.parent_task_run_id is not None:
            run.parent_flow_run_id = reading.flow_run_of_task_run(fetch, run.parent_task_run_id)
        writing.insert_flow_run(execute, run, state, clock.now())
        if run.parent_task_run_id is not None:
            mirroring.mirror(execute, run.id, run.parent_task_run_id, state)
        made = reading.flow_run(fetch, run.id)
    assert made is not None
    return Registered(made, True)


def _existing(execute: writing.Execute, flow_name: str, run: NewFlowRun) -> FlowRun | None:
    # Nearly always there is none, which the short query tells at a tenth of the price of the long one.
    fetch = fetching(execute)
    if reading.holds(fetch, [run.id]):
        return reading.flow_run(fetch, run.id)
    same_key = None if run.idempotency_key is None else writing.flow_run_with_key(execute, flow_name, run.idempotency_key)
    return None if same_key is None else reading.flow_run(fetch, same_key)


@retried
def set_flow_run_state(store: Store, flow_run_id: str, state: State[Any], *, force: bool = False) -> Answer:
    """Asks for a flow run to go into `state`. One that a living process of ours works on is not taken from it, but that process
    is asked when it is to be cancelled.

    Args:
        force: whatever the rules say, as long as no result is lost.

    Raises:
        ObjectNotFound: there is no such flow run.
    """
    with store.transaction() as execute:
        facts = writing.flow_run_facts(execute, flow_run_id)
        if facts is None:
            raise not_found(flow_run_id)
        if state.type is CANCELLING and facts.lease_id is not None:
            verdict = _stop(execute, flow_run_id, facts, state)
        else:
            verdict = _propose(execute, flow_run_id, facts, state, force)
        return _answer(execute, flow_run_id, verdict)


@retried
def resume_flow_run(store: Store, flow_run_id: str, run_input: bytes | None = None) -> Answer:
    """Lets a paused flow run go on: it runs, or is scheduled if it was suspended.

    Args:
        run_input: JSON for what the run waits for.

    Raises:
        ObjectNotFound: there is no such flow run.
    """
    with store.transaction() as execute:
        facts = writing.flow_run_facts(execute, flow_run_id)
        if facts is None:
            raise not_found(flow_run_id)
        if facts.state_type is not PAUSED:
            return _answer(execute, flow_run_id, Verdict("ABORT", reason="The flow run is not paused."))
        keyset = facts.details.run_input_keyset or {}
        if run_input is not None and "response" in keyset:
            flow_run_inputs.delete(execute, flow_run_id, keyset["response"])
            response = NewFlowRunInput(key=keyset["response"], value=run_input.decode())
            flow_run_inputs.create(execute, flow_run_id, response, clock.now())
        verdict = _propose(execute, flow_run_id, facts, _after_pause(facts), force=False)
        return _answer(execute, flow_run_id, verdict)


@retried
def change_flow_run(store: Store, flow_run_id: str, values: Mapping[str, Any]) -> None:
    """Gives columns of a flow run new values.

    Raises:
        ObjectNotFound: there is no such flow run.
    """
    with store.transaction() as execute:
        if not writing.change_flow_run(execute, flow_run_id, values):
            raise not_found(flow_run_id)


@retried
def add_flow_run_labels(store: Store, flow_run_id: str, labels: Mapping[str, Any]) -> None:
    """Gives a flow run labels beside those that it has.

    Raises:
        ObjectNotFound: there is no such flow run.
    """
    with store.transaction() as execute:
        run = reading.flow_run(fetching(execute), flow_run_id)
        if run is None:
            raise not_found(flow_run_id)
        text = msgspec.json.encode({**run.labels, **labels}).decode()
        writing.change_flow_run(execute, flow_run_id, {"labels": text})


def _after_pause(facts: writing.FlowRunFacts) -> State[Any]:
    if not facts.details.pause_reschedule:
        return Running()
    state = State[Any](type=SCHEDULED, name="Resuming")
    state.state_details.scheduled_time = state.timestamp
    return state


def _stop(execute: writing.Execute, flow_run_id: str, facts: writing.FlowRunFacts, state: State[Any]) -> Verdict:
    """Cancels what a process of ours works on: that process does it, and where it is gone, it is done here."""
    holder = leases.lease(execute, facts.lease_id or "")
    if holder is None or processes.is_gone(holder, clock.now()):
        return cancelling.cancel(execute, flow_run_id, state.message)
    verdict = propose(execute, flow_run_id, state, None, None)
    _cancel_subflow_runs(execute, flow_run_id, state.message)
    return verdict


def _propose(
    execute: writing.Execute, flow_run_id: str, facts: writing.FlowRunFacts, state: State[Any], force: bool
) -> Verdict:
    known = rule_facts(execute, flow_run_id, facts, state)
    chosen = rules.FORCED_RULES if force else rules.FLOW_RUN_RULES
    decision = rules.decide(state, known, chosen, by_the_table=False)
    if decided := verdict_without_a_state(decision, facts.attempt):
        return decided
    assert isinstance(decision, rules.Accept | rules.Reject)
    written = decision.state
    if written is not None:
        if written.name == "AwaitingRetry":
            written.data = state.data
        _write(execute, flow_run_id, facts, written, known)
    return verdict_with(decision, facts.attempt)


def _write(
    execute: writing.Execute, flow_run_id: str, facts: writing.FlowRunFacts, state: State[Any], known: rules.Facts
) -> None:
    """Writes a state, and what follows from it."""
    goes_on = rules.goes_on(state, known)
    writing.write_flow_run_state(execute, flow_run_id, state, facts, None, goes_on=goes_on)
    policy = rules.next_policy(state, known)
    if policy != facts.policy:
        writing.write_policy(execute, flow_run_id, policy)
    if facts.parent_task_run_id is not None:
        mirroring.mirror(execute, flow_run_id, facts.parent_task_run_id, state)
    if state.type is PAUSED:
        for key in (state.state_details.run_input_keyset or {}).values():
            flow_run_inputs.delete(execute, flow_run_id, key)
    if state.type is CANCELLED and facts.lease_id is None:
        lost_runs.end_task_runs(execute, flow_run_id, StateType.CANCELLED, state.message)
        _cancel_subflow_runs(execute, flow_run_id, state.message)


def _cancel_subflow_runs(execute: writing.Execute, flow_run_id: str, reason: str | None) -> None:
    for subflow_run_id in writing.unfinished_subflow_runs(execute, flow_run_id):
        cancelling.cancel(execute, subflow_run_id, reason)


def _answer(execute: writing.Execute, flow_run_id: str, verdict: Verdict) -> Answer:
    current = reading.current_state(fetching(execute), flow_run_id)
    delay = math.ceil(verdict.delay_seconds)
    return Answer(verdict.status, current, verdict.reason, delay, verdict.state is not None)
