"""Everything that is asked of the store: rows into records.

Each function takes `fetch`, which runs a query and gives its rows, so that it serves any database that speaks this SQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from tidemill import clock, ids
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
from tidemill.records import Flow, FlowRun, Log, RunPolicy, TaskRun, seconds, states_of_history
from tidemill.states import COMPLETED, FAILED, ResultReference, State, StateDetails, StateType, Unkept
from tidemill.store.filtering import (
    FLOW_ORDER,
    FLOW_RUN_ORDER,
    LOG_ORDER,
    TASK_RUN_ORDER,
    Condition,
    flow_condition,
    flow_run_condition,
    log_condition,
    task_run_condition,
)
from tidemill.store.rows import count, select

T = TypeVar("T")
Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

# A shorter beginning of an id says too little to be meant as one.
SHORTEST_PREFIX = 4

_FLOW = "flow.id, flow.name, flow.tags, flow.created, flow.updated"
_STATE = (
    "flow_run_state.id, flow_run_state.type, flow_run_state.name, flow_run_state.message, flow_run_state.timestamp, "
    "flow_run_state.details, flow_run_state.result_serializer, flow_run_state.result, flow_run_state.result_key"
)
_FLOW_RUN = (
    "flow_run.id, flow_run.name, flow_run.flow_id, flow.name, flow_run.flow_version, flow_run.entrypoint, "
    "flow_run.parameters, flow_run.tags, flow_run.empirical_policy, flow_run.parent_task_run_id, "
    "flow_run.parent_flow_run_id, flow_run.idempotency_key, flow_run.attempt, flow_run.created, flow_run.updated, "
    "flow_run.expected_start_time, flow_run.start_time, flow_run.end_time, flow_run.total_run_time"
)
_TASK_RUN = (
    "task_run.id, task_run.name, task_run.flow_run_id, task_run.task_key, task_run.dynamic_key, task_run.task_version, "
    "task_run.tags, task_run.task_inputs, task_run.empirical_policy, task_run.cache_key, task_run.run_count, "
    "task_run.attempt, task_run.created, task_run.start_time, task_run.end_time, task_run.total_run_time, "
    "task_run.history, task_run.details, task_run.result_serializer, task_run.result, task_run.result_key"
)
_LOG = "log.seq, log.flow_run_id, log.task_run_id, log.level, log.timestamp, log.name, log.message"

# A flow run's current state is the last of its states.
_FROM_FLOW_RUN = (
    "FROM flow_run JOIN flow ON flow.id = flow_run.flow_id "
    "JOIN flow_run_state ON flow_run_state.flow_run_id = flow_run.id AND flow_run_state.seq = "
    "(SELECT max(later.seq) FROM flow_run_state AS later WHERE later.flow_run_id = flow_run.id)"
)

_PREFIX = re.compile(r"[0-9a-f-]+")
_NOT_KEPT = {
    COMPLETED: "it could not be serialized, or it is larger than TIDEMILL_RESULTS_SIZE_LIMIT",
    FAILED: "its exception could not be serialized",
}
_decode_tags = msgspec.json.Decoder(list[str]).decode
_decode_inputs = msgspec.json.Decoder(dict[str, list[dict[str, Any]]]).decode
_decode_policy = msgspec.json.Decoder(RunPolicy).decode
_decode_details = msgspec.json.Decoder(StateDetails).decode
_decode = msgspec.json.Decoder().decode


def flow(fetch: Fetch, flow_id: str) -> Flow | None:
    """The flow of this id."""
    return _first(map(_to_flow, fetch(f"SELECT {_FLOW} FROM flow WHERE flow.id = ?", (ids.to_bytes(flow_id),))))


def flow_by_name(fetch: Fetch, name: str) -> Flow | None:
    """The flow of this name."""
    return _first(map(_to_flow, fetch(f"SELECT {_FLOW} FROM flow WHERE flow.name = ?", (name,))))


def flows(
    fetch: Fetch, filters: Filters = EVERYTHING, sort: FlowSort = FlowSort.NAME_ASC, page: Page = FIRST_PAGE
) -> list[Flow]:
    rows = select(fetch, f"{_FLOW} FROM flow", flow_condition(filters), FLOW_ORDER[sort], page)
    return [_to_flow(row) for row in rows]


def count_flows(fetch: Fetch, filters: Filters = EVERYTHING) -> int:
    return count(fetch, "flow", flow_condition(filters))


def flow_run(fetch: Fetch, flow_run_id: str) -> FlowRun | None:
    """The flow run of this id."""
    sql = f"SELECT {_FLOW_RUN}, {_STATE} {_FROM_FLOW_RUN} WHERE flow_run.id = ?"
    return _first(map(_to_flow_run, fetch(sql, (ids.to_bytes(flow_run_id),))))


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
    return _flow_runs(fetch, flow_run_condition(filters), sort, page)


def count_flow_runs(fetch: Fetch, filters: Filters = EVERYTHING) -> int:
    return count(fetch, "flow_run", flow_run_condition(filters))


def flow_run_states(fetch: Fetch, flow_run_id: str) -> list[State[Any]]:
    """Every state the run went through, first to last."""
    sql = f"SELECT {_STATE} FROM flow_run_state WHERE flow_run_state.flow_run_id = ? ORDER BY flow_run_state.seq"
    return [_to_state(row, flow_run_id) for row in fetch(sql, (ids.to_bytes(flow_run_id),))]


def find_flow_runs(fetch: Fetch, text: str, page: Page = FIRST_PAGE) -> list[FlowRun]:
    """The flow runs that `text` may mean: by id, by the beginning of an id, or by exact name; newest first."""
    return _flow_runs(fetch, _named("flow_run", text), FlowRunSort.ID_DESC, page)


def task_run(fetch: Fetch, task_run_id: str) -> TaskRun | None:
    """The task run of this id."""
    sql = f"SELECT {_TASK_RUN} FROM task_run WHERE task_run.id = ?"
    return _first(map(_to_task_run, fetch(sql, (ids.to_bytes(task_run_id),))))


def task_runs(
    fetch: Fetch, filters: Filters = EVERYTHING, sort: TaskRunSort = TaskRunSort.ID_DESC, page: Page = FIRST_PAGE
) -> list[TaskRun]:
    return _task_runs(fetch, task_run_condition(filters), sort, page)


def count_task_runs(fetch: Fetch, filters: Filters = EVERYTHING) -> int:
    return count(fetch, "task_run", task_run_condition(filters))


def task_run_states(fetch: Fetch, task_run_id: str) -> list[State[Any]]:
    """Every state the run went through, first to last."""
    sql = f"SELECT {_TASK_RUN} FROM task_run WHERE task_run.id = ?"
    rows = fetch(sql, (ids.to_bytes(task_run_id),))
    return _task_run_states(rows[0]) if rows else []


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
    rows = select(fetch, f"{_LOG} FROM log", log_condition(filter), LOG_ORDER[sort], page)
    return [_to_log(row) for row in rows]


def logs_after(fetch: Fetch, seq: int, flow_run_id: str, limit: int = 1000) -> list[Log]:
    """The next lines of a flow run that were committed after line `seq`, in the order of their commits."""
    sql = f"SELECT {_LOG} FROM log WHERE log.flow_run_id = ? AND log.seq > ? ORDER BY log.seq LIMIT ?"
    return [_to_log(row) for row in fetch(sql, (ids.to_bytes(flow_run_id), seq, limit))]


def logs_between(fetch: Fetch, first: int, last: int) -> list[Log]:
    """The lines from line `first` to line `last`, in the order of their commits."""
    sql = f"SELECT {_LOG} FROM log WHERE log.seq BETWEEN ? AND ? ORDER BY log.seq"
    return [_to_log(row) for row in fetch(sql, (first, last))]


def subflow_runs(fetch: Fetch, flow_run_ids: Iterable[str]) -> set[str]:
    """The ids of the flow runs called in these, of those called in them, and so on."""
    sql = (
        "WITH RECURSIVE called (id) AS (SELECT id FROM flow_run WHERE parent_flow_run_id = ? UNION "
        "SELECT flow_run.id FROM flow_run JOIN called ON flow_run.parent_flow_run_id = called.id) SELECT id FROM called"
    )
    return {ids.from_bytes(row[0]) for run_id in flow_run_ids for row in fetch(sql, (ids.to_bytes(run_id),))}


def _flow_runs(fetch: Fetch, condition: Condition, sort: FlowRunSort, page: Page) -> list[FlowRun]:
    rows = select(fetch, f"{_FLOW_RUN}, {_STATE} {_FROM_FLOW_RUN}", condition, FLOW_RUN_ORDER[sort], page)
    return [_to_flow_run(row) for row in rows]


def _task_runs(fetch: Fetch, condition: Condition, sort: TaskRunSort, page: Page) -> list[TaskRun]:
    rows = select(fetch, f"{_TASK_RUN} FROM task_run", condition, TASK_RUN_ORDER[sort], page)
    return [_to_task_run(row) for row in rows]


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


def _to_flow(row: tuple[Any, ...]) -> Flow:
    id, name, tags, created, updated = row
    return Flow(
        id=ids.from_bytes(id),
        name=name,
        tags=_decode_tags(tags),
        created=clock.to_datetime(created),
        updated=clock.to_datetime(updated),
    )


def _to_flow_run(row: tuple[Any, ...]) -> FlowRun:
    id, name, flow_id, flow_name, version, entrypoint, parameters, tags, policy, parent_task, parent, key, *rest = row
    attempt, created, updated, expected, start, end, total, *state_row = rest
    run_id = ids.from_bytes(id)
    state = _to_state(state_row, run_id)
    return FlowRun(
        id=run_id,
        name=name,
        flow_id=ids.from_bytes(flow_id),
        flow_name=flow_name,
        flow_version=version,
        entrypoint=entrypoint,
        parameters=_decode(parameters),
        tags=_decode_tags(tags),
        empirical_policy=_decode_policy(policy),
        parent_task_run_id=ids.from_bytes(parent_task) if parent_task else None,
        parent_flow_run_id=ids.from_bytes(parent) if parent else None,
        idempotency_key=key,
        run_count=attempt,
        state_id=state.id,
        state_type=state.type,
        state_name=state.name,
        state=state,
        created=clock.to_datetime(created),
        updated=clock.to_datetime(updated),
        expected_start_time=_time(expected),
        start_time=_time(start),
        end_time=_time(end),
        total_run_time=seconds(total),
    )


def _to_state(row: Sequence[Any], flow_run_id: str) -> State[Any]:
    id, type_text, name, message, timestamp, details_json, *result = row
    details = _decode_details(details_json)
    details.flow_run_id = flow_run_id
    type = StateType(type_text)
    return State[Any](
        type=type,
        name=name,
        message=message,
        timestamp=clock.to_datetime(timestamp),
        data=_data(type, *result),
        id=ids.from_bytes(id),
        state_details=details,
    )


def _to_task_run(row: tuple[Any, ...]) -> TaskRun:
    id, name, flow_run_id, task_key, dynamic_key, version, tags, inputs, policy, cache_key, run_count, *rest = row
    attempt, created, start, end, total, *_ = rest
    state = _task_run_states(row)[-1]
    return TaskRun(
        id=ids.from_bytes(id),
        name=name,
        flow_run_id=ids.from_bytes(flow_run_id) if flow_run_id else None,
        task_key=task_key,
        dynamic_key=dynamic_key,
        task_version=version,
        tags=_decode_tags(tags),
        task_inputs=_decode_inputs(inputs),
        empirical_policy=_decode_policy(policy) if policy else RunPolicy(),
        cache_key=cache_key,
        run_count=run_count,
        flow_run_run_count=attempt,
        state_id=state.id,
        state_type=state.type,
        state_name=state.name,
        state=state,
        created=clock.to_datetime(created),
        updated=state.timestamp,
        expected_start_time=clock.to_datetime(created),
        start_time=_time(start),
        end_time=_time(end),
        total_run_time=seconds(total),
    )


def _task_run_states(row: tuple[Any, ...]) -> list[State[Any]]:
    """The states in the row's history; what more is known, and the result, belong to the last."""
    history, details, *result = row[-5:]
    task_run_id, flow_run_id = ids.from_bytes(row[0]), row[2] and ids.from_bytes(row[2])
    states = states_of_history(task_run_id, _decode(history))
    last = states[-1]
    if details:
        last.state_details = _decode_details(details)
        last.state_details.task_run_id = task_run_id
    last.data = _data(last.type, *result)
    for state in states:
        state.state_details.flow_run_id = flow_run_id
    return states


def _data(type: StateType, serializer: str | None, inline: bytes | None, key: str | None) -> Any:
    if serializer is not None:
        return ResultReference(serializer, inline=inline, storage_key=key)
    return Unkept(_NOT_KEPT[type]) if type in _NOT_KEPT else None


def _to_log(row: tuple[Any, ...]) -> Log:
    seq, flow_run_id, task_run_id, level, timestamp, name, message = row
    return Log(
        id=ids.from_bytes(seq.to_bytes(16)),
        name=name,
        level=level,
        message=message,
        timestamp=clock.to_datetime(timestamp),
        flow_run_id=ids.from_bytes(flow_run_id) if flow_run_id else None,
        task_run_id=ids.from_bytes(task_run_id) if task_run_id else None,
        seq=seq,
    )


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else clock.to_datetime(microseconds)


def _first(records: Iterable[T]) -> T | None:
    return next(iter(records), None)
