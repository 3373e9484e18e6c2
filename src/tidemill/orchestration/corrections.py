"""Correcting what became of task runs, so that the next attempt of their flow run executes them again, or does not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tidemill import clock
from tidemill.exceptions import FlowRunIsLive, IllegalTransition, ObjectNotFound
from tidemill.orchestration import lost_runs, processes
from tidemill.orchestration.attempts import await_rerun, free
from tidemill.orchestration.proposing import not_found
from tidemill.records import TaskRunEntry
from tidemill.states import (
    AWAITING_RERUN,
    COMPLETED,
    DEFAULT_NAMES,
    SCHEDULED,
    TERMINAL_TYPES,
    ResultReference,
    State,
    StateDetails,
)
from tidemill.store import Store, entries, leases, recording, retried, writing

_NONE = ResultReference("json", b"null")
_CALLERS = "__parents__"
_decode_inputs = msgspec.json.Decoder(dict[str, list[dict[str, Any]]]).decode


@retried
def rerun_from(store: Store, flow_run_id: str, task_run_id: str) -> None:
    """Makes the next attempt of a flow run execute a task run again, and everything downstream of it.

    Downstream is what was given its result, what it called, and what called it; of a subflow, all its task runs. The task
    run may also be one of a subflow run: then the rest of that subflow keeps its results.

    Raises:
        FlowRunIsLive: a process works on the flow run.
        ObjectNotFound: there is no such flow run, or no such task run in it.
    """
    with store.transaction() as execute:
        chosen = entries.task_run_entry(_fetching(execute), task_run_id)
        reset_from(execute, flow_run_id, chosen, message_from(chosen))


def reset_from(execute: writing.Execute, flow_run_id: str, chosen: TaskRunEntry | None, message: str | None) -> None:
    """The same inside a transaction. None is a task run that is not there."""
    part_of: str | None = None  # the subflow run that is reset in part already
    for inside, start in _path(execute, flow_run_id, chosen):
        _prepare_flow_run(execute, inside, message)
        family = _Family(entries.task_run_entries(_fetching(execute), inside))
        _reset(execute, family.downstream(start, with_calls=part_of is None), message, part_of)
        part_of = inside


def message_from(chosen: TaskRunEntry | None) -> str | None:
    """The message of the states of what is executed again from this task run on."""
    return f"To be executed again, from task run {chosen.name!r} on." if chosen is not None else None


@retried
def set_task_run_state(store: Store, task_run_id: str, state: State[Any]) -> None:
    """Gives a task run a final state from outside, which the next attempt of its flow run honours.

    Args:
        state: its data is the result, as a `ResultReference`; a completed one without has the result None.

    Raises:
        FlowRunIsLive: a process works on the flow run (on the task run, if it is outside a flow), and the task run has not
            ended.
        IllegalTransition: the state is not final.
        ObjectNotFound: there is no such task run.
    """
    if state.type not in TERMINAL_TYPES:
        raise IllegalTransition(
            f"A task run can be set to COMPLETED, FAILED, CRASHED or CANCELLED, not to {state.type.value}. To have it "
            "executed again: tidemill flow-run retry FLOW_RUN --from TASK_RUN"
        )
    with store.transaction() as execute:
        entry = entries.task_run_entry(_fetching(execute), task_run_id)
        if entry is None:
            raise ObjectNotFound(
                f"There is no task run {task_run_id}; it may have been deleted. List them: tidemill task-run ls"
            )
        entry = _freed(execute, entry)
        name = None if state.name == DEFAULT_NAMES[state.type] else state.name
        entry.progress = entry.progress.then(state.type, name, state.message, clock.now())
        result = state.data if isinstance(state.data, ResultReference) else None
        entry.result = _NONE if result is None and state.type is COMPLETED else result
        entry.details = _details(entry, state.state_details)
        recording.write_task_runs(execute, [entry])


class _Family:
    """The task runs of a flow run, and which of them follow from which."""

    def __init__(self, members: Sequence[TaskRunEntry]) -> None:
        self._members = {entry.id: entry for entry in members}
        self._given_to: dict[str, list[str]] = defaultdict(list)
        self._called: dict[str, list[str]] = defaultdict(list)
        self._callers: dict[str, list[str]] = defaultdict(list)
        for entry in members:
            for parameter, sources in _decode_inputs(entry.task_inputs).items():
                for source in sources:
                    self._connect(entry.id, source.get("id", ""), parameter == _CALLERS)

    def _connect(self, run_id: str, source: str, calls: bool) -> None:
        if not calls:
            self._given_to[source].append(run_id)
        else:
            self._called[source].append(run_id)
            self._callers[run_id].append(source)

    def downstream(self, start: str, *, with_calls: bool) -> list[TaskRunEntry]:
        """The task run `start` and all that follow from it. What calls one of them has to be executed too, but what else
        it calls has not; `with_calls` says whether that is so for `start` itself."""
        found: dict[str, bool] = {}
        waiting = [(start, with_calls)]
        while waiting:
            run_id, whole = waiting.pop()
            if run_id not in self._members or found.get(run_id, False) or (run_id in found and not whole):
                continue
            found[run_id] = whole
            waiting += [(other, True) for other in self._given_to[run_id]]
            waiting += [(other, False) for other in self._callers[run_id]]
            if whole:
                waiting += [(other, True) for other in self._called[run_id]]
        return [self._members[run_id] for run_id in sorted(found)]


def _path(execute: writing.Execute, flow_run_id: str, chosen: TaskRunEntry | None) -> list[tuple[str, str]]:
    """From the task run up to the flow run: each flow run on the way, and the task run in it to begin from."""
    path: list[tuple[str, str]] = []
    inside, start = (chosen.flow_run_id, chosen.id) if chosen is not None else (None, None)
    while inside is not None and start is not None:
        path.append((inside, start))
        if inside == flow_run_id:
            return path
        inside, start = writing.parents_of(execute, inside)
    facts = writing.flow_run_facts(execute, flow_run_id)
    if facts is None:
        raise not_found(flow_run_id)
    raise ObjectNotFound(f"Flow run {facts.name!r} has no such task run. List them: tidemill task-run ls {flow_run_id}")


def _prepare_flow_run(execute: writing.Execute, flow_run_id: str, message: str | None) -> None:
    """Takes a flow run from whoever is gone; one that completed leaves that state, so that it can be begun again."""
    facts = writing.flow_run_facts(execute, flow_run_id)
    if facts is None:
        raise not_found(flow_run_id)
    facts = free(execute, flow_run_id, facts)
    if facts.state_type is COMPLETED:
        await_rerun(execute, flow_run_id, facts, message)


def _reset(execute: writing.Execute, chosen: Sequence[TaskRunEntry], message: str | None, part_of: str | None) -> None:
    """Gives task runs one more state, in which they await their execution; of those that stand for subflow runs, all the
    subflow's task runs too, but for the one that is reset in part already."""
    now = clock.now()
    for entry in chosen:
        entry.progress = entry.progress.then(SCHEDULED, AWAITING_RERUN, message, now)
        entry.result = None
        entry.details = _details(entry, None)
    recording.write_task_runs(execute, chosen)
    for entry in chosen:
        subflow_run_id = entry.details.child_flow_run_id if entry.details is not None else None
        if subflow_run_id is None or subflow_run_id == part_of or writing.flow_run_facts(execute, subflow_run_id) is None:
            continue
        _prepare_flow_run(execute, subflow_run_id, message)
        _reset(execute, entries.task_run_entries(_fetching(execute), subflow_run_id), message, part_of)


def _freed(execute: writing.Execute, entry: TaskRunEntry) -> TaskRunEntry:
    """The task run once nobody can change it any more but us."""
    if entry.progress.type in TERMINAL_TYPES:
        return entry
    if entry.flow_run_id is None:
        return _freed_alone(execute, entry)
    facts = writing.flow_run_facts(execute, entry.flow_run_id)
    if facts is None:
        return entry
    try:
        free(execute, entry.flow_run_id, facts)
    except FlowRunIsLive as live:
        raise FlowRunIsLive(f"Task run {entry.name!r} has not ended, so its state cannot be set. {live}") from None
    return entries.task_run_entry(_fetching(execute), entry.id) or entry


def _freed_alone(execute: writing.Execute, entry: TaskRunEntry) -> TaskRunEntry:
    """The same of a task run outside a flow."""
    holder = leases.lease(execute, entry.lease_id) if entry.lease_id is not None else None
    if holder is None:
        return entry
    if not processes.is_gone(holder, clock.now()):
        raise FlowRunIsLive(
            f"Task run {entry.name!r} has not ended, so its state cannot be set: process {holder.pid} on host "
            f"{holder.hostname} executes it. Wait until it has ended, or end that process."
        )
    lost_runs.reclaim(execute, holder)
    return entries.task_run_entry(_fetching(execute), entry.id) or entry


def _details(entry: TaskRunEntry, more: StateDetails | None) -> StateDetails | None:
    """What is still true of a task run in its next state: which subflow run it stands for."""
    child = entry.details.child_flow_run_id if entry.details is not None else None
    error = more.error if more is not None else None
    return StateDetails(child_flow_run_id=child, error=error) if child is not None or error is not None else None


def _fetching(execute: writing.Execute) -> Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]:
    """Reads within a transaction."""
    return lambda sql, bindings: execute(sql, bindings).fetchall()
