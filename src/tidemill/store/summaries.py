"""Runs summed up: by span of time and state, by flow run, and how late they began.

Each function takes `fetch`, which runs a query and gives its rows. Times are microseconds, unless they say otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tidemill import ids
from tidemill.filters import Filters, FlowRunSort, Page
from tidemill.records import seconds
from tidemill.states import StateType
from tidemill.store import rows
from tidemill.store.filtering import Condition, flow_run_condition, task_run_condition
from tidemill.store.ordering import FLOW_RUN_ORDER
from tidemill.store.rows import Fetch


class Slot(NamedTuple):
    """The runs of one state that were expected to begin in one span of time: which span, how many, and, all of them together,
    for how many seconds they ran and how many seconds late they began."""

    number: int
    state_type: StateType
    state_name: str
    runs: int
    run_time: float
    lateness: float


class BriefFlowRun(NamedTuple):
    """A flow run as a dot in a chart: when it began, for how many seconds it ran, and how many seconds late."""

    id: str
    state_type: StateType
    began: int
    run_time: float
    lateness: float


# For how long a run has been running, and how late it began or is by now; `?` is now.
FLOW_RUN_TIME = (
    "flow_run.total_run_time + CASE WHEN flow_run.state_type = 'RUNNING' AND flow_run.state_timestamp < ? "
    "THEN ? - flow_run.state_timestamp ELSE 0 END"
)
_TASK_RUN_TIME = (
    "task_run.total_run_time + CASE WHEN task_run.state_type = 'RUNNING' AND task_run.start_time < ? "
    "THEN ? - task_run.start_time ELSE 0 END"
)
_LATENESS = (
    "CASE WHEN {0}.start_time > {0}.{1} THEN {0}.start_time - {0}.{1} "
    "WHEN {0}.start_time IS NULL AND {0}.end_time IS NULL AND {0}.{1} < ? THEN ? - {0}.{1} ELSE 0 END"
)
_FLOW_RUN_LATENESS = _LATENESS.format("flow_run", "expected_start_time")
_TASK_RUN_LATENESS = _LATENESS.format("task_run", "created")


def flow_run_history(fetch: Fetch, filters: Filters, start: int, width: int, end: int, now: int) -> list[Slot]:
    """The flow runs that were expected to begin from `start` up to `end`, by spans of `width` and by state."""
    times = "flow_run.expected_start_time", FLOW_RUN_TIME, _FLOW_RUN_LATENESS
    return _history(fetch, "flow_run", flow_run_condition(filters), times, (start, width, end, now))


def task_run_history(fetch: Fetch, filters: Filters, start: int, width: int, end: int, now: int) -> list[Slot]:
    """The same for task runs."""
    times = "task_run.created", _TASK_RUN_TIME, _TASK_RUN_LATENESS
    return _history(fetch, "task_run", task_run_condition(filters), times, (start, width, end, now))


def flow_run_lateness(fetch: Fetch, filters: Filters, now: int) -> float | None:
    """How many seconds late flow runs began on average; None where there are none."""
    condition = flow_run_condition(filters)
    sql = f"SELECT count(*), sum({_FLOW_RUN_LATENESS}) FROM flow_run WHERE {condition.sql}"
    ((number, total),) = fetch(sql, (now, now, *condition.bindings))
    return seconds(int(total)) / number if number else None


def brief_flow_runs(fetch: Fetch, filters: Filters, sort: FlowRunSort, page: Page, now: int) -> list[BriefFlowRun]:
    """A page of flow runs, in brief."""
    what = (
        "flow_run.id, flow_run.state_type, coalesce(flow_run.start_time, flow_run.expected_start_time), "
        f"{FLOW_RUN_TIME}, {_FLOW_RUN_LATENESS} FROM flow_run"
    )
    condition = flow_run_condition(filters)
    given = Condition(condition.sql, (now, now, now, now, *condition.bindings))
    return [
        BriefFlowRun(ids.from_bytes(id), StateType(type), began, seconds(run_time), seconds(late))
        for id, type, began, run_time, late in rows.select(fetch, what, given, FLOW_RUN_ORDER[sort], page)
    ]


def task_runs_by_flow_run(fetch: Fetch, flow_run_ids: Sequence[str]) -> dict[str, int]:
    """How many task runs each of these flow runs has, without those that stand for subflow runs."""
    return {run: sum(counts.values()) for run, counts in task_run_states_by_flow_run(fetch, flow_run_ids).items()}


def task_run_states_by_flow_run(fetch: Fetch, flow_run_ids: Sequence[str]) -> dict[str, dict[StateType, int]]:
    """How many task runs each of these flow runs has in each type of state, without those that stand for subflow runs; types
    in which there is none are left out.

    Counted in an index alone, so that a run of 100,000 task runs takes a few milliseconds; those to be left out are counted
    apart, since they are few.
    """
    by_blob: dict[bytes, dict[str, int]] = {ids.to_bytes(run): {} for run in flow_run_ids}
    if by_blob:
        marks = ",".join("?" * len(by_blob))
        every = (
            f"SELECT flow_run_id, state_type, count(*) FROM task_run WHERE flow_run_id IN ({marks}) "
            "GROUP BY flow_run_id, state_type"
        )
        for run, type, number in fetch(every, tuple(by_blob)):
            by_blob[run][type] = number
        standing = (
            "SELECT task_run.flow_run_id, task_run.state_type, count(DISTINCT task_run.id) FROM flow_run AS subflow_run "
            f"CROSS JOIN task_run WHERE subflow_run.parent_flow_run_id IN ({marks}) "
            "AND task_run.id = subflow_run.parent_task_run_id AND task_run.flow_run_id = subflow_run.parent_flow_run_id "
            "GROUP BY task_run.flow_run_id, task_run.state_type"
        )
        for run, type, number in fetch(standing, tuple(by_blob)):
            by_blob[run][type] = by_blob[run].get(type, 0) - number
    return {run: _by_type(by_blob[ids.to_bytes(run)]) for run in flow_run_ids}


def task_runs_by_state(fetch: Fetch, filters: Filters) -> dict[str, int]:
    """How many task runs there are in each type of state."""
    condition = task_run_condition(filters)
    sql = f"SELECT task_run.state_type, count(*) FROM task_run WHERE {condition.sql} GROUP BY task_run.state_type"
    found = dict(fetch(sql, condition.bindings))
    return {type.value: found.get(type.value, 0) for type in StateType}


def ended_task_runs(fetch: Fetch, filters: Filters, start: int, width: int, spans: int) -> list[dict[str, int]]:
    """For each of so many spans of time from `start` on, how many task runs that began then completed and failed."""
    condition = task_run_condition(filters)
    sql = (
        "SELECT (task_run.start_time - ?) / ?, CASE WHEN task_run.state_type = 'COMPLETED' THEN 1 ELSE 0 END, count(*) "
        f"FROM task_run WHERE {condition.sql} AND task_run.start_time >= ? AND task_run.start_time < ? "
        "AND task_run.state_type IN ('COMPLETED', 'FAILED', 'CRASHED') GROUP BY 1, 2"
    )
    counts = [{"completed": 0, "failed": 0} for _ in range(spans)]
    for number, completed, count in fetch(sql, (start, width, *condition.bindings, start, start + width * spans)):
        counts[number]["completed" if completed else "failed"] = count
    return counts


def _by_type(counts: Mapping[str, int]) -> dict[StateType, int]:
    return {StateType(type): number for type, number in counts.items() if number > 0}


def _history(
    fetch: Fetch, table: str, condition: Condition, times: tuple[str, str, str], span: tuple[int, int, int, int]
) -> list[Slot]:
    expected, run_time, lateness = times
    start, width, end, now = span
    sql = (
        f"SELECT ({expected} - ?) / ?, {table}.state_type, {table}.state_name, count(*), sum({run_time}), sum({lateness}) "
        f"FROM {table} WHERE {condition.sql} AND {expected} >= ? AND {expected} < ? GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    bindings: tuple[Any, ...] = (start, width, now, now, now, now, *condition.bindings, start, end)
    return [
        Slot(number, StateType(type), name, runs, seconds(int(total)), seconds(int(late)))
        for number, type, name, runs, total, late in fetch(sql, bindings)
    ]
