"""The last runs of a flow beside each other, and in each what became of its tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from tidemill import ids
from tidemill.records import seconds
from tidemill.states import StateType
from tidemill.store.activity import ShownRun, last_runs
from tidemill.store.rows import Fetch
from tidemill.store.timelines import name_of_task

# The task runs of one task stand together for the worst of their states.
_FROM_THE_WORST = (
    StateType.CRASHED,
    StateType.FAILED,
    StateType.CANCELLED,
    StateType.CANCELLING,
    StateType.PAUSED,
    StateType.RUNNING,
    StateType.SCHEDULED,
    StateType.PENDING,
    StateType.COMPLETED,
)


class Cell(msgspec.Struct, kw_only=True):
    """The task runs of one task in one flow run: the worst of their states, how many there are, from the first beginning to the
    last end in seconds (up to now, if one is running), and which it is if it is only one."""

    state_type: StateType
    total: int
    seconds: float | None
    task_run_id: str | None


class GridTask(msgspec.Struct, kw_only=True):
    """A task, with a cell for each run; null where the run has not called it."""

    task_key: str
    name: str
    cells: list[Cell | None]


class Grid(msgspec.Struct, kw_only=True):
    """The last runs of a flow, oldest first, and its tasks, in the order in which the newest run that has them began them."""

    runs: list[ShownRun]
    tasks: list[GridTask]


class _Part(NamedTuple):
    """The task runs of one task in one flow run that are in the same type of state. Times are microseconds."""

    type: StateType
    number: int
    first_start: int | None
    last_end: int | None


def grid(fetch: Fetch, flow_id: str, last: int, now: int) -> Grid | None:
    """The last so many runs of a flow, with their tasks; None if there is no such flow."""
    flow = ids.to_bytes(flow_id)
    if not fetch("SELECT 1 FROM flow WHERE id = ?", (flow,)):
        return None
    runs = last_runs(fetch, flow, 0, last, now)
    blobs = [ids.to_bytes(run.id) for run in runs]
    parts = _parts(fetch, blobs)
    alone = _alone(fetch, blobs)
    tasks: dict[str, GridTask] = {}
    # From the newest run on, in which the order of tasks is that of the code as it is now.
    for run in reversed(blobs):
        for key in sorted(parts[run], key=lambda key: _first_start(parts[run][key])):
            if key not in tasks:
                tasks[key] = GridTask(task_key=key, name=name_of_task(fetch, run, key), cells=[])
    for task in tasks.values():
        task.cells = [_cell(parts[run].get(task.task_key), alone.get((run, task.task_key)), now) for run in blobs]
    return Grid(runs=runs, tasks=list(tasks.values()))


def _parts(fetch: Fetch, runs: Sequence[bytes]) -> dict[bytes, dict[str, list[_Part]]]:
    """By flow run and task; found in an index alone."""
    found: dict[bytes, dict[str, list[_Part]]] = {run: defaultdict(list) for run in runs}
    for run, key, type, *more in _of_runs(
        fetch,
        "SELECT flow_run_id, task_key, state_type, count(*), min(coalesce(start_time, end_time)), max(end_time) FROM task_run "
        "WHERE flow_run_id IN ({}) GROUP BY flow_run_id, task_key, state_type",
        runs,
    ):
        found[run][key].append(_Part(StateType(type), *more))
    return found


def _alone(fetch: Fetch, runs: Sequence[bytes]) -> dict[tuple[bytes, str], str]:
    """The ids of task runs that are the only ones of their task in their flow run."""
    sql = (
        "SELECT task_run.flow_run_id, task_run.task_key, task_run.id FROM (SELECT flow_run_id, task_key FROM task_run "
        "WHERE flow_run_id IN ({}) GROUP BY flow_run_id, task_key HAVING count(*) = 1) AS alone CROSS JOIN task_run "
        "WHERE task_run.flow_run_id = alone.flow_run_id AND task_run.task_key = alone.task_key"
    )
    return {(run, key): ids.from_bytes(id) for run, key, id in _of_runs(fetch, sql, runs)}


def _of_runs(fetch: Fetch, sql: str, runs: Sequence[bytes]) -> list[tuple[Any, ...]]:
    return fetch(sql.format(",".join("?" * len(runs))), runs) if runs else []


def _cell(parts: list[_Part] | None, alone: str | None, now: int) -> Cell | None:
    if not parts:
        return None
    start = _first_start(parts)
    ends = [part.last_end for part in parts if part.last_end is not None]
    if any(part.type is StateType.RUNNING for part in parts):
        ends.append(now)
    return Cell(
        state_type=min((part.type for part in parts), key=_FROM_THE_WORST.index),
        total=sum(part.number for part in parts),
        seconds=seconds(max(0, max(ends) - int(start))) if ends else None,
        task_run_id=alone,
    )


def _first_start(parts: list[_Part]) -> float:
    return min((part.first_start for part in parts if part.first_start is not None), default=float("inf"))
