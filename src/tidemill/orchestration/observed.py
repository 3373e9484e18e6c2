"""Task runs that others tell of: their clients orchestrate them, and say afterwards in which states they were.

What is told may come out of order, more than once, late, and from several processes whose clocks differ: whatever the order
of arrival, the same history comes of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from tidemill.ids import to_bytes
from tidemill.records import Progress, Step, TaskRunEntry
from tidemill.states import DEFAULT_NAMES, PENDING, RUNNING, SCHEDULED, TERMINAL_TYPES, ResultReference, StateDetails, StateType
from tidemill.store import entries, reading, recording, writing

_TERMINAL = frozenset(type.value for type in TERMINAL_TYPES)
# Where a state stands among those of one try: that it runs comes first, how it ended last.
_RANKS = {type.value: 2 if type in TERMINAL_TYPES else 0 if type is RUNNING else 1 for type in StateType}


class Observation(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One state of a task run, and what its client knew of the run by then. Times are microseconds.

    `run_count` is how often the run had begun to execute; `attempt` is that of its flow run. `tags`, `task_inputs`, `policy`
    and `labels` are JSON.
    """

    id: str
    flow_run_id: str | None
    name: str
    task_key: str
    dynamic_key: str
    step: Step
    run_count: int
    attempt: int
    created: int
    start_time: int | None
    end_time: int | None
    total_run_time: int
    tags: str = "[]"
    task_inputs: str = "{}"
    policy: str | None = None
    details: StateDetails | None = None
    result: ResultReference | None = None
    task_version: str | None = None
    cache_key: str | None = None
    labels: str | None = None


def record_observed(execute: writing.Execute, observations: Sequence[Observation]) -> list[Observation]:
    """Writes what was told of task runs, inside the caller's transaction; writing it again changes nothing.

    Returns:
        Those of flow runs that are not there (any more): nothing was written of them.
    """
    fetch: reading.Fetch = lambda sql, bindings: execute(sql, bindings).fetchall()  # noqa: E731
    flow_runs = {told.flow_run_id for told in observations if told.flow_run_id is not None}
    there = reading.holds(fetch, sorted(flow_runs)) if flow_runs else {}
    by_run: dict[str, list[Observation]] = {}
    lost: list[Observation] = []
    for told in observations:
        if told.flow_run_id is None or told.flow_run_id in there:
            by_run.setdefault(told.id, []).append(told)
        else:
            lost.append(told)
    known = entries.task_run_entries_by_id(fetch, list(by_run))
    recording.write_task_runs(execute, [as_told(known.get(run_id), told) for run_id, told in by_run.items()])
    for run_id, all_told in by_run.items():
        if labels := next((told.labels for told in reversed(all_told) if told.labels), None):
            execute("UPDATE task_run SET labels = ? WHERE id = ?", (labels, to_bytes(run_id)))
    return lost


def as_told(entry: TaskRunEntry | None, observations: Sequence[Observation]) -> TaskRunEntry:
    """A task run with the states that were told of it.

    Args:
        entry: the run as it is recorded; None if it is not yet.
        observations: of this run, in any order; at least one.
    """
    moments = [] if entry is None else _recorded(entry.progress)
    known = {_identity(moment.step) for moment in moments}
    for told in observations:
        if (identity := _identity(told.step)) not in known:
            known.add(identity)
            moments.append(_Moment(told.run_count, told.step, told))
    moments.sort(key=_by_time if entry is not None and _has_gaps(entry.progress) else _by_try)
    newest = moments[-1].told
    if newest is None:  # what is recorded is the latest of it all
        assert entry is not None
        return _completed(entry, moments, observations)
    return _from(newest, entry, moments, observations)


class _Moment(NamedTuple):
    run_count: int
    step: Step
    told: Observation | None = None


def _by_try(moment: _Moment) -> tuple[int, int, int]:
    """Clocks of several machines need not agree, so that times decide only within a try."""
    if moment.run_count == 0 and moment.step[0] not in _TERMINAL:
        return 0, 0, moment.step[3]
    return moment.run_count, _RANKS[moment.step[0]], moment.step[3]


def _by_time(moment: _Moment) -> tuple[int, int, int]:
    """Where states are missing, nobody knows to which try those belong that are recorded."""
    early = moment.run_count == 0 and moment.step[0] not in _TERMINAL
    return 0 if early else 1, moment.step[3], _RANKS[moment.step[0]]


def _recorded(progress: Progress) -> list[_Moment]:
    """The recorded states, each with the number of its try; with gaps, only 0 is certain."""
    moments: list[_Moment] = []
    run_count = 0
    gaps = _has_gaps(progress)
    for step in progress.history:
        if step[0] == RUNNING.value:
            run_count += 1
        elif gaps and run_count == 0 and not _is_before_the_first_try(step):
            run_count = 1
        moments.append(_Moment(run_count, step))
    return moments


def _is_before_the_first_try(step: Step) -> bool:
    return step[0] == PENDING.value or (step[0] == SCHEDULED.value and step[1] != "AwaitingRetry")


def _has_gaps(progress: Progress) -> bool:
    """Whether a state is missing in which the run executed."""
    return sum(step[0] == RUNNING.value for step in progress.history) != progress.run_count


def _identity(step: Step) -> tuple[str, str | None, int]:
    return step[0], step[1], step[3]


def _history(moments: Iterable[_Moment]) -> tuple[Step, ...]:
    # With their times as they are, though these may decrease between machines: a repeated state is known by its time.
    return tuple(moment.step for moment in moments)


def _completed(entry: TaskRunEntry, moments: Sequence[_Moment], observations: Sequence[Observation]) -> TaskRunEntry:
    before = entry.progress
    entry.progress = Progress(
        before.type,
        before.name,
        _history(moments),
        before.run_count,
        before.start_time if before.start_time is not None else _first_start(observations),
        before.end_time,
        before.total_run_time,
    )
    entry.attempt = max(entry.attempt, *(told.attempt for told in observations))
    return entry


def _from(
    newest: Observation, entry: TaskRunEntry | None, moments: Sequence[_Moment], observations: Sequence[Observation]
) -> TaskRunEntry:
    """The run as its newest state tells it, with what only others have recorded of it."""
    type = StateType(newest.step[0])
    start = newest.start_time
    if start is None:
        start = entry.progress.start_time if entry is not None else _first_start(observations)
    end = None
    if type in TERMINAL_TYPES:
        end = newest.end_time if newest.end_time is not None else newest.step[3]
    history = _history(moments)
    name = newest.step[1] or DEFAULT_NAMES[type]
    attempts = [told.attempt for told in observations]
    return TaskRunEntry(
        newest.id,
        newest.flow_run_id if entry is None else entry.flow_run_id,
        max(attempts) if entry is None else max(entry.attempt, *attempts),
        newest.name,
        newest.task_key,
        newest.dynamic_key,
        newest.tags,
        newest.policy,
        newest.created if entry is None else entry.created,
        Progress(type, name, history, newest.run_count, start, end, newest.total_run_time),
        newest.task_version,
        newest.task_inputs,
        newest.details,
        None if entry is None else entry.input_hash,
        newest.cache_key if entry is None else newest.cache_key or entry.cache_key,
        newest.result or (None if entry is None else entry.result),
        None if entry is None else entry.lease_id,
    )


def _first_start(observations: Iterable[Observation]) -> int | None:
    return min((told.start_time for told in observations if told.start_time is not None), default=None)
