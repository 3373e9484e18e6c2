"""Everything that is asked of the store: rows into records.

Each function takes `fetch`, which runs a query and gives its rows, so that it serves any database that speaks this SQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from tidemill import ids
from tidemill.filters import (
    EVERYTHING,
    FIRST_PAGE,
    Filters,
    FlowRunSort,
    FlowSort,
    LogFilter,
    LogSort,
    Page,
    TaskRunSort,
)
from tidemill.records import Flow, FlowRun, Log, TaskRun
from tidemill.states import State, StateType
from tidemill.store import columns
from tidemill.store.filtering import (
    Condition,
    flow_condition,
    flow_run_condition,
    log_condition,
    task_run_condition,
)
from tidemill.store.ordering import FLOW_ORDER, FLOW_RUN_ORDER, LOG_ORDER, TASK_RUN_ORDER
from tidemill.store.pages import chosen_flow_runs, in_one_order
from tidemill.store.rows import count, select

T = TypeVar("T")
Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

# A shorter beginning of an id says too little to be meant as one.
SHORTEST_PREFIX = 4

# Of a task run, those that are found by their ids.
_MOST_STATES = 100

# Of flow runs called in flow runs.
_MOST_LEVELS = 1000

# A flow run's current state is the last of its states.
_IS_CURRENT = (
    "flow_run_state.flow_run_id = flow_run.id AND flow_run_state.seq = "
    "(SELECT max(later.seq) FROM flow_run_state AS later WHERE later.flow_run_id = flow_run.id)"
)
_FROM_FLOW_RUN = f"FROM flow_run JOIN flow ON flow.id = flow_run.flow_id JOIN flow_run_state ON {_IS_CURRENT}"

_PREFIX = re.compile(r"[0-9a-f-]+")


def flow(fetch: Fetch, flow_id: str) -> Flow | None:
    """The flow of this id."""
    return _first(map(columns.to_flow, fetch(f"SELECT {columns.FLOW} FROM flow WHERE flow.id = ?", (ids.to_bytes(flow_id),))))


def flow_by_name(fetch: Fetch, name: str) -> Flow | None:
    """The flow of this name."""
    return _first(map(columns.to_flow, fetch(f"SELECT {columns.FLOW} FROM flow WHERE flow.name = ?", (name,))))


def flows(
    fetch: Fetch, filters: Filters = EVERYTHING, sort: FlowSort = FlowSort.NAME_ASC, page: Page = FIRST_PAGE
) -> list[Flow]:
    rows = select(fetch, f"{columns.FLOW} FROM flow", flow_condition(filters), FLOW_ORDER[sort], page)
    return [columns.to_flow(row) for row in rows]


def count_flows(fetch: Fetch, filters: Filters = EVERYTHING) -> int:
    return count(fetch, "flow", flow_condition(filters))


def flow_run(fetch: Fetch, flow_run_id: str) -> FlowRun | None:
    """The flow run of this id."""
    sql = f"SELECT {columns.FLOW_RUN}, {columns.STATE} {_FROM_FLOW_RUN} WHERE flow_run.id = ?"
    return _first(map(columns.to_flow_run, fetch(sql, (ids.to_bytes(flow_run_id),))))


def holds(fetch: Fetch, flow_run_ids: Sequence[str]) -> dict[str, tuple[StateType, int, str | None]]:
    """For each of these flow runs that exists: its state's type, its attempt, and the lease that holds it."""
    sql = f"SELECT id, state_type, attempt, lease_id FROM flow_run WHERE id IN ({','.join('?' * len(flow_run_ids))})"
    rows = fetch(sql, [ids.to_bytes(flow_run_id) for flow_run_id in flow_run_ids])
    return {
        ids.from_bytes(id): (StateType(type), attempt, ids.from_bytes(lease) if lease else None)
        for id, type, attempt, lease in rows
    }


def flow_run_call(fetch: Fetch, flow_run_id: str) -> tuple[str, bytes] | None:
    """The arguments a flow run was called with (serializer, bytes), where its parameters do not give them back."""
    rows = fetch("SELECT call_serializer, call FROM flow_run WHERE id = ?", (ids.to_bytes(flow_run_id),))
    return (rows[0][0], rows[0][1]) if rows and rows[0][0] is not None else None


def flow_runs(
    fetch: Fetch, filters: Filters = EVERYTHING, sort: FlowRunSort = FlowRunSort.ID_DESC, page: Page = FIRST_PAGE
) -> list[FlowRun]:
    return _flow_runs(fetch, chosen_flow_runs(fetch, filters, sort, page), sort)


class FlowRunVersion(NamedTuple):
    """A flow run as it was last written: as long as this is the same, so is everything that is told of a run that ended."""

    id: bytes
    state_id: bytes
    updated: int
    end_time: int | None


def flow_run_versions(fetch: Fetch, filters: Filters, sort: FlowRunSort, page: Page) -> list[FlowRunVersion]:
    """Which flow runs `flow_runs` would give, without reading them."""
    chosen = chosen_flow_runs(fetch, filters, sort, page)
    sql = (
        f"SELECT flow_run.id, flow_run.state_id, flow_run.updated, flow_run.end_time FROM {chosen.sql} AS chosen "
        f"CROSS JOIN flow_run WHERE flow_run.id = chosen.run_id ORDER BY {FLOW_RUN_ORDER[sort]}"
    )
    return [FlowRunVersion(*row) for row in fetch(sql, chosen.bindings)]


def overdue_flow_runs(fetch: Fetch, before: int, limit: int) -> list[tuple[str, int]]:
    """Flow runs that were to begin before that time (microseconds), have not, and are not called late yet: ids and times."""
    # The plus keeps the database from going through all runs that were ever to begin.
    sql = (
        "SELECT id, expected_start_time FROM flow_run WHERE state_type = 'SCHEDULED' AND state_name = 'Scheduled' "
        "AND +expected_start_time < ? ORDER BY +expected_start_time LIMIT ?"
    )
    return [(ids.from_bytes(row[0]), row[1]) for row in fetch(sql, (before, limit))]


def count_flow_runs(fetch: Fetch, filters: Filters = EVERYTHING) -> int:
    return count(fetch, "flow_run", flow_run_condition(filters))


def flow_run_states(fetch: Fetch, flow_run_id: str) -> list[State[Any]]:
    """Every state the run went through, first to last."""
    sql = f"SELECT {columns.STATE} FROM flow_run_state WHERE flow_run_state.flow_run_id = ? ORDER BY flow_run_state.seq"
    return [columns.to_state(row, flow_run_id) for row in fetch(sql, (ids.to_bytes(flow_run_id),))]


def flow_run_state(fetch: Fetch, state_id: str) -> State[Any] | None:
    """The state of this id that a flow run went through."""
    sql = f"SELECT {columns.STATE}, flow_run_state.flow_run_id FROM flow_run_state WHERE flow_run_state.id = ?"
    return _first(columns.to_state(row[:-1], ids.from_bytes(row[-1])) for row in fetch(sql, (ids.to_bytes(state_id),)))


def current_state(fetch: Fetch, flow_run_id: str) -> State[Any] | None:
    """The state in which a flow run is; None if there is none of this id."""
    sql = f"SELECT {columns.STATE} FROM flow_run_state WHERE flow_run_state.flow_run_id = ? ORDER BY seq DESC LIMIT 1"
    return _first(columns.to_state(row, flow_run_id) for row in fetch(sql, (ids.to_bytes(flow_run_id),)))


def find_flow_runs(fetch: Fetch, text: str, page: Page = FIRST_PAGE) -> list[FlowRun]:
    """The flow runs that `text` may mean: by id, by the beginning of an id, or by exact name; newest first."""
    sort = FlowRunSort.ID_DESC
    return _flow_runs(fetch, in_one_order(_named("flow_run", text), sort, page), sort)


def task_run(fetch: Fetch, task_run_id: str) -> TaskRun | None:
    """The task run of this id."""
    sql = f"SELECT {columns.TASK_RUN} FROM task_run WHERE task_run.id = ?"
    return _first(map(columns.to_task_run, fetch(sql, (ids.to_bytes(task_run_id),))))


def flow_run_of_task_run(fetch: Fetch, task_run_id: str) -> str | None:
    """The flow run in which a task run is; None if it is in none, or not there."""
    rows = fetch("SELECT flow_run_id FROM task_run WHERE id = ?", (ids.to_bytes(task_run_id),))
    return ids.from_bytes(rows[0][0]) if rows and rows[0][0] else None


def task_runs(
    fetch: Fetch, filters: Filters = EVERYTHING, sort: TaskRunSort = TaskRunSort.ID_DESC, page: Page = FIRST_PAGE
) -> list[TaskRun]:
    return _task_runs(fetch, task_run_condition(filters), sort, page)


def count_task_runs(fetch: Fetch, filters: Filters = EVERYTHING) -> int:
    return count(fetch, "task_run", task_run_condition(filters))


def task_run_states(fetch: Fetch, task_run_id: str) -> list[State[Any]]:
    """Every state the run went through, first to last."""
    sql = f"SELECT {columns.TASK_RUN} FROM task_run WHERE task_run.id = ?"
    rows = fetch(sql, (ids.to_bytes(task_run_id),))
    return columns.to_task_run_states(rows[0]) if rows else []


def task_run_state(fetch: Fetch, state_id: str) -> State[Any] | None:
    """The state of this id that a task run went through, if it is one of the first hundred.

    The ids of states follow from that of the run, and the other way round.
    """
    state_id = ids.from_bytes(ids.to_bytes(state_id))
    candidates = [ids.to_bytes(ids.nth_id(state_id, n)) for n in range(_MOST_STATES)]
    sql = f"SELECT {columns.TASK_RUN} FROM task_run WHERE task_run.id IN ({','.join('?' * len(candidates))})"
    states = (state for row in fetch(sql, candidates) for state in columns.to_task_run_states(row))
    return _first(state for state in states if state.id == state_id)


def find_task_runs(fetch: Fetch, text: str, flow_run_id: str | None = None, page: Page = FIRST_PAGE) -> list[TaskRun]:
    """The same for task runs, of one flow run or of all."""
    condition = _named("task_run", text)
    if flow_run_id is not None:
        condition = Condition(
            f"({condition.sql}) AND task_run.flow_run_id = ?", (*condition.bindings, ids.to_bytes(flow_run_id))
        )
    return _task_runs(fetch, condition, TaskRunSort.ID_DESC, page)


def logs(
    fetch: Fetch, filter: LogFilter | None = None, sort: LogSort = LogSort.TIMESTAMP_ASC, page: Page = FIRST_PAGE
) -> list[Log]:
    rows = select(fetch, f"{columns.LOG} FROM log", log_condition(filter), LOG_ORDER[sort], page)
    return [columns.to_log(row) for row in rows]


def logs_after(fetch: Fetch, seq: int, flow_run_id: str, limit: int = 1000) -> list[Log]:
    """The next lines of a flow run that were committed after line `seq`, in the order of their commits."""
    settled = "log.seq < settled() OR EXISTS (SELECT 1 FROM flow_run WHERE id = log.flow_run_id AND end_time IS NOT NULL)"
    where = f"log.flow_run_id = ? AND log.seq > ? /*postgres: AND ({settled}) */"
    sql = f"SELECT {columns.LOG} FROM log WHERE {where} ORDER BY log.seq LIMIT ?"
    return [columns.to_log(row) for row in fetch(sql, (ids.to_bytes(flow_run_id), seq, limit))]


def logs_between(fetch: Fetch, first: int, last: int) -> list[Log]:
    """The lines from line `first` to line `last`, in the order of their commits."""
    sql = f"SELECT {columns.LOG} FROM log WHERE log.seq BETWEEN ? AND ? ORDER BY log.seq"
    return [columns.to_log(row) for row in fetch(sql, (first, last))]


def subflow_runs(fetch: Fetch, flow_run_ids: Iterable[str]) -> set[str]:
    """The ids of the flow runs called in these, of those called in them, and so on."""
    sql = (
        "WITH RECURSIVE called (id) AS (SELECT id FROM flow_run WHERE parent_flow_run_id = ? UNION "
        "SELECT flow_run.id FROM flow_run JOIN called ON flow_run.parent_flow_run_id = called.id) SELECT id FROM called"
    )
    return {ids.from_bytes(row[0]) for run_id in flow_run_ids for row in fetch(sql, (ids.to_bytes(run_id),))}


class Ancestor(msgspec.Struct, kw_only=True, frozen=True):
    """A flow run in which another was called, directly or by way of others."""

    id: str
    name: str
    flow_name: str


def ancestors(fetch: Fetch, flow_run_id: str) -> list[Ancestor]:
    """The flow runs in which a flow run was called, from the outermost to its parent."""
    sql = (
        "WITH RECURSIVE above (id, level) AS (SELECT parent_flow_run_id, 1 FROM flow_run WHERE id = ? UNION ALL "
        "SELECT flow_run.parent_flow_run_id, above.level + 1 FROM above JOIN flow_run ON flow_run.id = above.id "
        "WHERE above.level < ?) "
        "SELECT flow_run.id, flow_run.name, flow.name FROM above JOIN flow_run ON flow_run.id = above.id "
        "JOIN flow ON flow.id = flow_run.flow_id ORDER BY above.level DESC"
    )
    rows = fetch(sql, (ids.to_bytes(flow_run_id), _MOST_LEVELS))
    return [Ancestor(id=ids.from_bytes(id), name=name, flow_name=flow) for id, name, flow in rows]


def _flow_runs(fetch: Fetch, chosen: Condition, sort: FlowRunSort) -> list[FlowRun]:
    sql = (
        f"SELECT {columns.FLOW_RUN}, {columns.STATE} FROM {chosen.sql} AS chosen CROSS JOIN flow_run CROSS JOIN flow "
        f"CROSS JOIN flow_run_state WHERE flow_run.id = chosen.run_id AND flow.id = flow_run.flow_id AND {_IS_CURRENT} "
        f"ORDER BY {FLOW_RUN_ORDER[sort]}"
    )
    return [columns.to_flow_run(row) for row in fetch(sql, chosen.bindings)]


def _task_runs(fetch: Fetch, condition: Condition, sort: TaskRunSort, page: Page) -> list[TaskRun]:
    rows = select(fetch, f"{columns.TASK_RUN} FROM task_run", condition, TASK_RUN_ORDER[sort], page)
    return [columns.to_task_run(row) for row in rows]


def _named(table: str, text: str) -> Condition:
    digits = _id_digits(text.strip().lower())
    if digits is None:
        return Condition(f"{table}.name = ?", (text,))
    if len(digits) == 32:
        return Condition(f"{table}.id = ?", (bytes.fromhex(digits),))
    lowest, highest = bytes.fromhex(digits.ljust(32, "0")), bytes.fromhex(digits.ljust(32, "f"))
    return Condition(f"({table}.name = ? OR {table}.id BETWEEN ? AND ?)", (text, lowest, highest))


def _id_digits(text: str) -> str | None:
    """The hex digits of an id or of its beginning, with dashes where an id has them or with none; else None."""
    digits = text.replace("-", "")
    if not SHORTEST_PREFIX <= len(digits) <= 32 or not _PREFIX.fullmatch(text):
        return None
    canonical = ids.from_bytes(bytes.fromhex(digits.ljust(32, "0")))
    return digits if text == digits or canonical.startswith(text) else None


def _first(records: Iterable[T]) -> T | None:
    return next(iter(records), None)
