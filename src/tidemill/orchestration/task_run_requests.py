"""What clients of the REST API ask of task runs: those that stand for subflow runs, and those that clients execute."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from tidemill import clock, rules
from tidemill.exceptions import FlowRunIsLive, ObjectNotFound
from tidemill.orchestration import lost_runs, processes
from tidemill.orchestration.proposing import Verdict, fetching, not_found, verdict_with, verdict_without_a_state
from tidemill.orchestration.requests import Answer
from tidemill.records import Progress, RunPolicy, TaskRun, TaskRunEntry
from tidemill.states import (
    COMPLETED,
    DEFAULT_NAMES,
    RUNNING,
    TERMINAL_TYPES,
    ResultReference,
    State,
    StateDetails,
)
from tidemill.store import Store, caching, entries, leases, reading, recording, retried, task_runs, writing

# By which clients of the field find the task runs of a flow and of a flow run.
_FLOW_LABEL = "prefect.flow.id"
_FLOW_RUN_LABEL = "prefect.flow-run.id"
_NONE = ResultReference("json", b"null")


class Registered(NamedTuple):
    """A run as it is there, and whether it was created just now."""

    run: TaskRun
    created: bool


def first_progress(state: State[Any]) -> Progress:
    """How far a task run has come that is created in this state."""
    began = clock.from_datetime(state.timestamp)
    name = None if state.name == DEFAULT_NAMES[state.type] else state.name
    running, ended = state.type is RUNNING, state.type in TERMINAL_TYPES
    history = ((state.type.value, name, state.message, began),)
    return Progress(state.type, state.name, history, int(running), began if running else None, began if ended else None)


@retried
def register_task_run(store: Store, entry: TaskRunEntry, labels: Mapping[str, Any]) -> Registered:
    """Creates a task run, which nobody here executes. If there is one of its id, or its flow run has one of its keys, that one
    stays as it is.

    Raises:
        ObjectNotFound: there is no such flow run.
    """
    with store.transaction() as execute:
        fetch = fetching(execute)
        known: dict[str, Any] = {}
        if entry.flow_run_id is not None:
            flow_run = reading.flow_run(fetch, entry.flow_run_id)
            if flow_run is None:
                raise not_found(entry.flow_run_id)
            known = {_FLOW_LABEL: flow_run.flow_id, _FLOW_RUN_LABEL: flow_run.id}
        existing = reading.task_run(fetch, entry.id) or _run_with_keys(execute, entry)
        if existing is not None:
            return Registered(existing, False)
        recording.write_task_runs(execute, [entry])
        task_runs.change(execute, entry.id, "labels", msgspec.json.encode({**known, **labels}).decode())
        made = reading.task_run(fetch, entry.id)
    assert made is not None
    return Registered(made, True)


@retried
def set_task_run_state(store: Store, task_run_id: str, state: State[Any], *, force: bool = False) -> Answer:
    """Asks for a task run to go into `state`.

    Args:
        force: whatever the rules say, as long as no result is lost.

    Raises:
        FlowRunIsLive: a process of ours executes it.
        ObjectNotFound: there is no such task run.
    """
    with store.transaction() as execute:
        entry, flow_run = _of_nobody(execute, task_run_id)
        decision = rules.decide(
            state,
            _facts(entry, flow_run, state),
            rules.FORCED_TASK_RULES if force else rules.TASK_RUN_RULES,
            by_the_table=False,
        )
        verdict = verdict_without_a_state(decision, entry.attempt)
        if verdict is None:
            assert isinstance(decision, rules.Accept | rules.Reject)
            if decision.state is not None:
                _write(execute, entry, flow_run, decision.state)
            verdict = verdict_with(decision, entry.attempt)
        return _answer(execute, task_run_id, verdict)


@retried
def rename_task_run(store: Store, task_run_id: str, name: str) -> None:
    """Gives a task run another name.

    Raises:
        ObjectNotFound: there is no such task run.
    """
    with store.transaction() as execute:
        if not task_runs.change(execute, task_run_id, "name", name):
            raise no_task_run(task_run_id)


@retried
def delete_task_run(store: Store, task_run_id: str) -> list[str]:
    """Removes a task run.

    Returns:
        The key of its result file, if no other run has it.

    Raises:
        ObjectNotFound: there is no such task run.
    """
    with store.transaction() as execute:
        fetch = fetching(execute)
        keys = task_runs.result_keys(fetch, task_run_id)
        if not task_runs.delete(execute, task_run_id):
            raise no_task_run(task_run_id)
        used = caching.keys_in_use(fetch, keys)
    return [key for key in keys if key not in used]


def no_task_run(task_run_id: str) -> ObjectNotFound:
    """The error of whoever asks for a task run that is not there."""
    return ObjectNotFound(f"There is no task run {task_run_id}; it may have been deleted. List them: tidemill task-run ls")


def _run_with_keys(execute: writing.Execute, entry: TaskRunEntry) -> TaskRun | None:
    if entry.flow_run_id is None:
        return None
    fetch = fetching(execute)
    existing = task_runs.id_of(fetch, entry.flow_run_id, entry.task_key, entry.dynamic_key)
    return None if existing is None else reading.task_run(fetch, existing)


def _of_nobody(execute: writing.Execute, task_run_id: str) -> tuple[TaskRunEntry, writing.FlowRunFacts | None]:
    """A task run and its flow run, once no process of ours executes it."""
    fetch = fetching(execute)
    entry = entries.task_run_entry(fetch, task_run_id)
    if entry is None:
        raise no_task_run(task_run_id)
    facts = writing.flow_run_facts(execute, entry.flow_run_id) if entry.flow_run_id is not None else None
    held_by = facts.lease_id if facts is not None else entry.lease_id
    holder = leases.lease(execute, held_by) if held_by is not None else None
    if holder is None or entry.progress.type in TERMINAL_TYPES:
        return entry, facts
    if not processes.is_gone(holder, clock.now()):
        raise FlowRunIsLive(
            f"Task run {entry.name!r} has not ended, so its state cannot be set: process {holder.pid} on host "
            f"{holder.hostname} executes it. Wait until it has ended, or cancel its flow run."
        )
    lost_runs.reclaim(execute, holder)
    freed = writing.flow_run_facts(execute, entry.flow_run_id) if entry.flow_run_id is not None else None
    return entries.task_run_entry(fetch, task_run_id) or entry, freed


def _facts(entry: TaskRunEntry, flow_run: writing.FlowRunFacts | None, proposed: State[Any]) -> rules.Facts:
    details = entry.details or StateDetails()
    policy = msgspec.json.decode(entry.policy, type=RunPolicy) if entry.policy else RunPolicy()
    retries_made = max(0, entry.progress.run_count - 1)
    return rules.Facts(
        current=entry.progress.type,
        now=clock.now(),
        run_count=entry.progress.run_count,
        retries=policy.retries,
        retries_made=retries_made,
        retry_delay=policy.jittered_delay(retries_made + 1),
        retriable=proposed.state_details.retriable is not False,
        scheduled_time=clock.from_datetime(details.scheduled_time) if details.scheduled_time else None,
        result_kept=entry.result is not None,
        transition_id=details.transition_id,
        details=details,
        flow_run=flow_run.state_type if flow_run is not None else None,
        flow_run_details=flow_run.details if flow_run is not None else details,
    )


def _write(execute: writing.Execute, entry: TaskRunEntry, flow_run: writing.FlowRunFacts | None, state: State[Any]) -> None:
    progress = entry.progress
    if progress.type in TERMINAL_TYPES and state.type not in TERMINAL_TYPES:  # what it did before is another story
        progress = msgspec.structs.replace(progress, run_count=0)
    name = None if state.name == DEFAULT_NAMES[state.type] else state.name
    entry.progress = progress.then(state.type, name, state.message, clock.from_datetime(state.timestamp))
    child = entry.details.child_flow_run_id if entry.details is not None else None
    entry.details = msgspec.structs.replace(
        state.state_details, child_flow_run_id=child or state.state_details.child_flow_run_id
    )
    entry.result = state.data if isinstance(state.data, ResultReference) else None
    if entry.result is None and state.type is COMPLETED and entry.input_hash is not None:
        entry.result = _NONE  # of a run that was executed here, so that the next attempt has it
    if state.type is RUNNING and flow_run is not None:
        entry.attempt = flow_run.attempt
    recording.write_task_runs(execute, [entry])


def _answer(execute: writing.Execute, task_run_id: str, verdict: Verdict) -> Answer:
    run = reading.task_run(fetching(execute), task_run_id)
    delay = math.ceil(verdict.delay_seconds)
    return Answer(verdict.status, run and run.state, verdict.reason, delay, verdict.state is not None)
