"""The timeline of a flow run: its states, its tasks, and the task runs that are drawn, in columns, since they may be many.

Times are milliseconds since the epoch in what is given, and microseconds elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tidemill import ids
from tidemill.records import milliseconds
from tidemill.states import StateType
from tidemill.store.graphs import sources
from tidemill.store.rows import Fetch
from tidemill.store.task_names import task_name

# Of a flow run with more task runs, the tasks are drawn instead.
MOST_NODES = 10_000
_MOST_SPANS = 200


class TimelineState(msgspec.Struct, kw_only=True):
    """A state that the flow run went through."""

    type: StateType
    name: str
    message: str | None
    at_ms: float


class Activity(msgspec.Struct, kw_only=True):
    """How many task runs were running in each span of time, on average; spans of `width_ms` from `begin_ms` on."""

    begin_ms: float
    width_ms: float
    running: list[float]


class TimelineTask(msgspec.Struct, kw_only=True):
    """A task, or a flow called as a subflow: how many runs it has, in which states, and from when to when they ran."""

    task_key: str
    name: str
    total: int
    counts: dict[StateType, int]
    first_start_ms: float | None
    last_end_ms: float | None
    activity: Activity | None


class Nodes(msgspec.Struct, kw_only=True):
    """Task runs by the time of their beginning: each list has an entry for each.

    `task` is an index into the tasks, `attempt` the attempt of the flow run that executed it last, `run_count` how often it has
    been executed, `child_flow_run_id` the subflow run that it stands for. `parents` are those whose results it was given,
    `callers` those in which it was called: indices into these lists. A run that never began and yet ended, since its result was
    there, has the time of its end for a beginning; one that waits has none.
    """

    id: list[str]
    task: list[int]
    name: list[str]
    state_type: list[StateType]
    state_name: list[str]
    start_ms: list[float | None]
    end_ms: list[float | None]
    attempt: list[int]
    run_count: list[int]
    child_flow_run_id: list[str | None]
    parents: list[list[int]]
    callers: list[list[int]]


class Timeline(msgspec.Struct, kw_only=True):
    """What a page draws of a flow run.

    If it is `grouped`, it has too many task runs to be drawn one by one: of each task the activity is given, and the nodes of
    one task on demand.
    """

    total: int
    grouped: bool
    states: list[TimelineState]
    tasks: list[TimelineTask]
    nodes: Nodes


def timeline(
    fetch: Fetch, flow_run_id: str, now: int, task_key: str | None = None, offset: int = 0, limit: int = MOST_NODES
) -> Timeline | None:
    """What is drawn of a flow run; None if there is none of this id.

    Args:
        task_key: only the task runs of this task, from `offset` on, at most `limit`.
    """
    run = ids.to_bytes(flow_run_id)
    states = _states(fetch, run)
    if not states:
        return None
    tasks = _tasks(fetch, run)
    total = sum(task.total for task in tasks)
    grouped = total > MOST_NODES
    rows: Sequence[tuple[Any, ...]] = ()
    if task_key is not None:
        rows = _rows_of_task(fetch, run, task_key, offset, limit)
    elif grouped:
        _add_activity(fetch, run, tasks, now)
    else:
        rows = _rows(fetch, run)
    nodes = _nodes(rows, {task.task_key: n for n, task in enumerate(tasks)}, _subflow_runs(fetch, run) if rows else {})
    return Timeline(total=total, grouped=grouped, states=states, tasks=tasks, nodes=nodes)


def _states(fetch: Fetch, run: bytes) -> list[TimelineState]:
    rows = fetch("SELECT type, name, message, timestamp FROM flow_run_state WHERE flow_run_id = ? ORDER BY seq", (run,))
    return [
        TimelineState(type=StateType(type), name=name, message=message, at_ms=milliseconds(time))
        for type, name, message, time in rows
    ]


def _tasks(fetch: Fetch, run: bytes) -> list[TimelineTask]:
    """The tasks by the time of their first beginning; found in an index alone, but for their names."""
    rows = fetch(
        "SELECT task_key, state_type, count(*), min(coalesce(start_time, end_time)), max(end_time) FROM task_run "
        "WHERE flow_run_id = ? GROUP BY task_key, state_type",
        (run,),
    )
    found: dict[str, TimelineTask] = {}
    for key, type, number, first, last in rows:
        task = found.get(key)
        if task is None:
            task = found[key] = TimelineTask(
                task_key=key, name="", total=0, counts={}, first_start_ms=None, last_end_ms=None, activity=None
            )
        task.total += number
        task.counts[StateType(type)] = number
        if first is not None:
            task.first_start_ms = min(milliseconds(first), task.first_start_ms or float("inf"))
        if last is not None:
            task.last_end_ms = max(milliseconds(last), task.last_end_ms or 0.0)
    for task in found.values():
        task.name = name_of_task(fetch, run, task.task_key)
    return sorted(found.values(), key=lambda task: (task.first_start_ms or float("inf"), task.task_key))


def name_of_task(fetch: Fetch, run: bytes, task_key: str) -> str:
    """What a task is called that a flow run has called."""
    rows = fetch("SELECT name, dynamic_key FROM task_run WHERE flow_run_id = ? AND task_key = ? LIMIT 1", (run, task_key))
    name, dynamic_key = rows[0] if rows else (task_key, "")
    return task_name(task_key, name, dynamic_key)


_COLUMNS = (
    "task_run.id, task_run.task_key, task_run.name, task_run.state_type, task_run.state_name, task_run.start_time, "
    "task_run.end_time, task_run.attempt, task_run.run_count, task_run.task_inputs"
)
_BY_START = "coalesce(task_run.start_time, task_run.end_time) NULLS LAST, task_run.id"


def _rows(fetch: Fetch, run: bytes) -> list[tuple[Any, ...]]:
    sql = f"SELECT {_COLUMNS} FROM task_run WHERE task_run.flow_run_id = ? ORDER BY {_BY_START} LIMIT ?"
    return fetch(sql, (run, MOST_NODES))


def _rows_of_task(fetch: Fetch, run: bytes, task_key: str, offset: int, limit: int) -> list[tuple[Any, ...]]:
    # With all types of states the index is taken that also has the times, so that only the rows are read that are given.
    any_state = ", ".join(f"'{type.value}'" for type in StateType)
    sql = (
        f"SELECT {_COLUMNS} FROM (SELECT task_run.id AS run_id FROM task_run WHERE task_run.flow_run_id = ? "
        f"AND task_run.task_key = ? AND task_run.state_type IN ({any_state}) ORDER BY {_BY_START} LIMIT ? OFFSET ?) AS chosen "
        f"CROSS JOIN task_run WHERE task_run.id = chosen.run_id ORDER BY {_BY_START}"
    )
    return fetch(sql, (run, task_key, limit, offset))


def _subflow_runs(fetch: Fetch, run: bytes) -> dict[bytes, str]:
    """The flow runs called in a flow run, by the task runs that stand for them; of several the newest."""
    sql = "SELECT parent_task_run_id, id FROM flow_run WHERE parent_flow_run_id = ? ORDER BY id"
    return {task_run: ids.from_bytes(id) for task_run, id in fetch(sql, (run,))}


def _nodes(rows: Iterable[tuple[Any, ...]], tasks: dict[str, int], subflow_runs: dict[bytes, str]) -> Nodes:
    # Task runs of a task that was called for the first time just now are left for the next time.
    known = [row for row in rows if row[1] in tasks]
    run_ids = [ids.from_bytes(row[0]) for row in known]
    places = {run_id: n for n, run_id in enumerate(run_ids)}
    parents: list[list[int]] = []
    callers: list[list[int]] = []
    for row in known:
        given, called = sources(row[9])
        parents.append([places[source] for source in given if source in places])
        callers.append([places[source] for source in called if source in places])
    types = {type.value: type for type in StateType}
    return Nodes(
        id=run_ids,
        task=[tasks[row[1]] for row in known],
        name=[row[2] for row in known],
        state_type=[types[row[3]] for row in known],
        state_name=[row[4] for row in known],
        start_ms=[_ms(row[6] if row[5] is None else row[5]) for row in known],
        end_ms=[_ms(row[6]) for row in known],
        attempt=[row[7] for row in known],
        run_count=[row[8] for row in known],
        child_flow_run_id=[subflow_runs.get(row[0]) for row in known],
        parents=parents,
        callers=callers,
    )


def _add_activity(fetch: Fetch, run: bytes, tasks: list[TimelineTask], now: int) -> None:
    """Adds to each task how many of its runs were running when; worked out by the database, in an index alone."""
    ((ended,),) = fetch("SELECT end_time FROM flow_run WHERE id = ?", (run,)) or ((None,),)
    ((first, last),) = fetch("SELECT min(start_time), max(end_time) FROM task_run WHERE flow_run_id = ?", (run,))
    if first is None:
        return
    until = now if ended is None else ended  # what goes on now, or was never ended with its flow run
    end = max(until, last or 0, first + 1)
    width = -(-(end - first) // _MOST_SPANS)
    spans = -(-(end - first) // width)
    rows = fetch(
        "SELECT task_key, (start_time - ?2) / ?3, (coalesce(end_time, ?4) - ?2) / ?3, count(*), sum(start_time - ?2), "
        "sum(coalesce(end_time, ?4) - ?2) FROM task_run WHERE flow_run_id = ?1 AND start_time IS NOT NULL GROUP BY 1, 2, 3",
        (run, first, width, until),
    )
    # One more than are given, for what ends with the last of these.
    busy = {task.task_key: [0.0] * (spans + 1) for task in tasks}
    for key, first_span, last_span, number, starts, ends in rows:
        if key in busy:
            _add(busy[key], first_span, last_span, (number, int(starts), int(ends)), width)
    for task in tasks:
        running = [round(time / width, 3) for time in busy[task.task_key][:spans]]
        task.activity = Activity(begin_ms=milliseconds(first), width_ms=milliseconds(width), running=running)


def _add(busy: list[float], first: int, last: int, group: tuple[int, int, int], width: int) -> None:
    """Adds the time that a group of runs was running in each span.

    Args:
        first, last: the spans in which they began and ended.
        group: how many they are, and when, taken together, they began and ended.
    """
    number, starts, ends = group
    if last <= first:
        busy[first] += max(0, ends - starts)
        return
    busy[first] += number * (first + 1) * width - starts
    for span in range(first + 1, last):
        busy[span] += number * width
    busy[last] += ends - number * last * width


def _ms(time: int | None) -> float | None:
    return None if time is None else milliseconds(time)
