"""Turns filters into SQL conditions with bound values, and sorts into ORDER BY.

The conditions name their tables (`flow`, `flow_run`, `task_run`, `log`), so they fit any query that selects from these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tidemill import clock, ids
from tidemill.filters import (
    ArtifactFilter,
    ArtifactSort,
    ExistsFilter,
    Filters,
    FlowFilter,
    FlowRunFilter,
    FlowRunSort,
    FlowSort,
    IdFilter,
    KeyFilter,
    LevelFilter,
    LogFilter,
    LogSort,
    NameFilter,
    Operator,
    StateFilter,
    StateTypeFilter,
    TagsFilter,
    TaskRunFilter,
    TaskRunSort,
    TextSearchFilter,
    TimeFilter,
    VariableFilter,
    VariableSort,
)


class Condition(NamedTuple):
    """A piece of SQL that is true or false for a row, and the values for its question marks."""

    sql: str
    bindings: tuple[Any, ...] = ()


_TERM = re.compile(r'([+-]?)(?:"([^"]*)"|(\S+))')


def flow_condition(filters: Filters) -> Condition:
    """Which flows: by themselves, and by having such runs."""
    conditions = [_flow(filters.flows)]
    if filters.flow_runs or filters.task_runs:
        inner = flow_run_condition(Filters(flow_runs=filters.flow_runs, task_runs=filters.task_runs))
        conditions.append(_within("flow.id IN (SELECT flow_run.flow_id FROM flow_run WHERE {})", inner))
    return _all(conditions)


def flow_run_condition(filters: Filters) -> Condition:
    """Which flow runs: by themselves, by their flow, and by having such task runs."""
    conditions = [_flow_run(filters.flow_runs)]
    if filters.flows:
        conditions.append(_within("flow_run.flow_id IN (SELECT flow.id FROM flow WHERE {})", _flow(filters.flows)))
    if filters.task_runs:
        sql = "EXISTS (SELECT 1 FROM task_run WHERE task_run.flow_run_id = flow_run.id AND {})"
        conditions.append(_within(sql, _task_run(filters.task_runs)))
    return _all(conditions)


def task_run_condition(filters: Filters) -> Condition:
    """Which task runs: by themselves, by their flow run, and by its flow."""
    conditions = [_task_run(filters.task_runs)]
    if filters.flows or filters.flow_runs:
        inner = flow_run_condition(Filters(flows=filters.flows, flow_runs=filters.flow_runs))
        conditions.append(_within("task_run.flow_run_id IN (SELECT flow_run.id FROM flow_run WHERE {})", inner))
    return _all(conditions)


def log_condition(filter: LogFilter | None) -> Condition:
    """Which log lines."""
    if filter is None:
        return _all([])
    return _fields(
        filter.operator,
        _on_level("log.level", filter.level),
        _on_time("log.timestamp", filter.timestamp),
        _on_id("log.flow_run_id", filter.flow_run_id),
        _on_id("log.task_run_id", filter.task_run_id),
        _on_message(filter.text),
    )


def variable_condition(filter: VariableFilter | None) -> Condition:
    """Which variables."""
    if filter is None:
        return _all([])
    return _fields(
        filter.operator,
        _on_id("variable.id", filter.id),
        _on_key("variable.name", filter.name),
        _on_tags("variable.tags", filter.tags),
    )


def artifact_condition(filter: ArtifactFilter | None, filters: Filters) -> Condition:
    """Which artifacts: by themselves, and by the flow run and task run that made them."""
    conditions = [_artifact(filter)]
    if filters.flows or filters.flow_runs:
        inner = flow_run_condition(Filters(flows=filters.flows, flow_runs=filters.flow_runs))
        conditions.append(_within("artifact.flow_run_id IN (SELECT flow_run.id FROM flow_run WHERE {})", inner))
    if filters.task_runs:
        inner = _task_run(filters.task_runs)
        conditions.append(_within("artifact.task_run_id IN (SELECT task_run.id FROM task_run WHERE {})", inner))
    return _all(conditions)


FLOW_ORDER = {
    FlowSort.CREATED_DESC: "flow.created DESC, flow.id DESC",
    FlowSort.UPDATED_DESC: "flow.updated DESC, flow.id DESC",
    FlowSort.NAME_ASC: "flow.name ASC",
    FlowSort.NAME_DESC: "flow.name DESC",
}
_NEXT_START = "CASE WHEN {0}.state_type = 'SCHEDULED' THEN {0}.{1} END ASC NULLS LAST, {0}.id DESC"
_BEGAN = "coalesce(flow_run.start_time, flow_run.expected_start_time)"
FLOW_RUN_ORDER = {
    FlowRunSort.ID_DESC: "flow_run.id DESC",
    FlowRunSort.START_TIME_ASC: f"{_BEGAN} ASC NULLS LAST, flow_run.id ASC",
    FlowRunSort.START_TIME_DESC: f"{_BEGAN} DESC NULLS LAST, flow_run.id DESC",
    FlowRunSort.EXPECTED_START_TIME_ASC: "flow_run.expected_start_time ASC NULLS LAST, flow_run.id ASC",
    FlowRunSort.EXPECTED_START_TIME_DESC: "flow_run.expected_start_time DESC NULLS LAST, flow_run.id DESC",
    FlowRunSort.NAME_ASC: "flow_run.name ASC, flow_run.id DESC",
    FlowRunSort.NAME_DESC: "flow_run.name DESC, flow_run.id DESC",
    FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC: _NEXT_START.format("flow_run", "expected_start_time"),
    FlowRunSort.END_TIME_DESC: "flow_run.end_time DESC NULLS LAST, flow_run.id DESC",
}
# A task run is expected to start when it is created; it has no column for that.
TASK_RUN_ORDER = {
    TaskRunSort.ID_DESC: "task_run.id DESC",
    TaskRunSort.EXPECTED_START_TIME_ASC: "task_run.created ASC, task_run.id ASC",
    TaskRunSort.EXPECTED_START_TIME_DESC: "task_run.created DESC, task_run.id DESC",
    TaskRunSort.NAME_ASC: "task_run.name ASC, task_run.id DESC",
    TaskRunSort.NAME_DESC: "task_run.name DESC, task_run.id DESC",
    TaskRunSort.NEXT_SCHEDULED_START_TIME_ASC: _NEXT_START.format("task_run", "created"),
    TaskRunSort.END_TIME_DESC: "task_run.end_time DESC NULLS LAST, task_run.id DESC",
    TaskRunSort.DURATION_ASC: "task_run.total_run_time ASC, task_run.id DESC",
    TaskRunSort.DURATION_DESC: "task_run.total_run_time DESC, task_run.id DESC",
}
LOG_ORDER = {
    LogSort.TIMESTAMP_ASC: "log.timestamp ASC, log.seq ASC",
    LogSort.TIMESTAMP_DESC: "log.timestamp DESC, log.seq DESC",
}

VARIABLE_ORDER = {
    VariableSort.CREATED_DESC: "variable.created DESC, variable.id DESC",
    VariableSort.UPDATED_DESC: "variable.updated DESC, variable.id DESC",
    VariableSort.NAME_ASC: "variable.name ASC",
    VariableSort.NAME_DESC: "variable.name DESC",
}
ARTIFACT_ORDER = {
    ArtifactSort.CREATED_DESC: "artifact.created DESC, artifact.id DESC",
    ArtifactSort.UPDATED_DESC: "artifact.updated DESC, artifact.id DESC",
    ArtifactSort.ID_DESC: "artifact.id DESC",
    ArtifactSort.KEY_ASC: "artifact.key ASC NULLS FIRST, artifact.id DESC",
    ArtifactSort.KEY_DESC: "artifact.key DESC NULLS LAST, artifact.id DESC",
}


def _flow(filter: FlowFilter | None) -> Condition:
    if filter is None:
        return _all([])
    return _fields(
        filter.operator,
        _on_id("flow.id", filter.id),
        _on_name("flow.name", filter.name),
        _on_tags("flow.tags", filter.tags),
    )


def _flow_run(filter: FlowRunFilter | None) -> Condition:
    if filter is None:
        return _all([])
    return _fields(
        filter.operator,
        _on_id("flow_run.id", filter.id),
        _on_name("flow_run.name", filter.name),
        _on_tags("flow_run.tags", filter.tags),
        _on_state("flow_run", filter.state),
        _on_name("flow_run.flow_version", filter.flow_version),
        _on_time("flow_run.start_time", filter.start_time),
        _on_time("flow_run.end_time", filter.end_time),
        _on_time("flow_run.expected_start_time", filter.expected_start_time),
        _on_id("flow_run.parent_flow_run_id", filter.parent_flow_run_id),
        _on_id("flow_run.parent_task_run_id", filter.parent_task_run_id),
        _on_name("flow_run.idempotency_key", filter.idempotency_key),
    )


def _task_run(filter: TaskRunFilter | None) -> Condition:
    if filter is None:
        return _all([])
    return _fields(
        filter.operator,
        _on_id("task_run.id", filter.id),
        _on_name("task_run.name", filter.name),
        _on_tags("task_run.tags", filter.tags),
        _on_state("task_run", filter.state),
        _on_time("task_run.start_time", filter.start_time),
        _on_time("task_run.end_time", filter.end_time),
        _on_time("task_run.created", filter.expected_start_time),
        _on_id("task_run.flow_run_id", filter.flow_run_id),
        _on_subflows(filter.subflow_runs),
    )


def _artifact(filter: ArtifactFilter | None) -> Condition:
    if filter is None:
        return _all([])
    return _fields(
        filter.operator,
        _on_id("artifact.id", filter.id),
        _on_id("artifact.id", filter.latest_id),
        _on_key("artifact.key", filter.key),
        _on_name("artifact.type", filter.type),
        _on_id("artifact.flow_run_id", filter.flow_run_id),
        _on_id("artifact.task_run_id", filter.task_run_id),
    )


def _on_id(column: str, filter: IdFilter | None) -> Iterable[Condition]:
    if filter is None:
        return
    conditions: list[Condition] = []
    if filter.any_ is not None:
        conditions.append(_one_of(column, [ids.to_bytes(identifier) for identifier in filter.any_]))
    if filter.not_any_ is not None:
        conditions.append(_none_of(column, [ids.to_bytes(identifier) for identifier in filter.not_any_]))
    conditions += _on_null(column, filter.is_null_)
    yield _joined(filter.operator, conditions)


def _on_name(column: str, filter: NameFilter | None) -> Iterable[Condition]:
    if filter is None:
        return
    if filter.any_ is not None:
        yield _one_of(column, filter.any_)
    if filter.not_any_ is not None:
        yield _none_of(column, filter.not_any_)
    if filter.like_:
        yield _like(column, f"%{_literal(filter.like_)}%")
    if filter.startswith_ is not None:
        yield _any([_like(column, f"{_literal(start)}%") for start in filter.startswith_])


def _on_key(column: str, filter: KeyFilter | None) -> Iterable[Condition]:
    if filter is None:
        return
    if filter.any_ is not None:
        yield _one_of(column, filter.any_)
    if filter.like_:
        yield _like(column, f"%{_literal(filter.like_)}%".replace("\\%", "%"))
    yield from _on_null(column, None if filter.exists_ is None else not filter.exists_)


def _on_tags(column: str, filter: TagsFilter | None) -> Iterable[Condition]:
    if filter is None:
        return
    one_tag = f"EXISTS (SELECT 1 FROM json_each({column}) AS tag WHERE {{}})"
    conditions = [_within(one_tag, Condition("tag.value = ?", (tag,))) for tag in filter.all_ or ()]
    if filter.any_ is not None:
        conditions.append(_within(one_tag, _one_of("tag.value", filter.any_)))
    if filter.is_null_ is not None:
        conditions.append(Condition(f"{column} {'=' if filter.is_null_ else '<>'} '[]'"))
    yield _joined(filter.operator, conditions)


def _on_state(table: str, filter: StateFilter | None) -> Iterable[Condition]:
    if filter is None:
        return
    yield _fields(
        filter.operator,
        _on_state_type(f"{table}.state_type", filter.type),
        _on_name(f"{table}.state_name", filter.name),
    )


def _on_state_type(column: str, filter: StateTypeFilter | None) -> Iterable[Condition]:
    if filter is None:
        return
    if filter.any_ is not None:
        yield _one_of(column, [type.value for type in filter.any_])
    if filter.not_any_ is not None:
        yield _none_of(column, [type.value for type in filter.not_any_])


def _on_time(column: str, filter: TimeFilter | None) -> Iterable[Condition]:
    if filter is None:
        return
    if filter.before_ is not None:
        yield Condition(f"{column} <= ?", (clock.from_datetime(filter.before_),))
    if filter.after_ is not None:
        yield Condition(f"{column} >= ?", (clock.from_datetime(filter.after_),))
    yield from _on_null(column, filter.is_null_)


def _on_level(column: str, filter: LevelFilter | None) -> Iterable[Condition]:
    if filter is None:
        return
    if filter.ge_ is not None:
        yield Condition(f"{column} >= ?", (filter.ge_,))
    if filter.le_ is not None:
        yield Condition(f"{column} <= ?", (filter.le_,))


def _on_message(filter: TextSearchFilter | None) -> Iterable[Condition]:
    if filter is None:
        return
    words: dict[str, list[Condition]] = {"": [], "+": [], "-": []}
    for sign, quoted, bare in _TERM.findall(filter.query):
        if word := quoted or bare:
            pattern = f"%{_literal(word)}%"
            words[sign].append(_any([_like("log.message", pattern), _like("log.name", pattern)]))
    if words[""]:
        yield _any(words[""])
    yield from words["+"]
    yield from (_within("NOT {}", condition) for condition in words["-"])


def _on_subflows(filter: ExistsFilter | None) -> Iterable[Condition]:
    if filter is None or filter.exists_ is None:
        return
    exists = "EXISTS (SELECT 1 FROM flow_run AS subflow_run WHERE subflow_run.parent_task_run_id = task_run.id)"
    yield Condition(exists if filter.exists_ else f"NOT {exists}")


def _on_null(column: str, is_null: bool | None) -> Iterable[Condition]:
    if is_null is not None:
        yield Condition(f"{column} IS {'NULL' if is_null else 'NOT NULL'}")


def _one_of(column: str, values: Sequence[Any]) -> Condition:
    if not values:
        return Condition("FALSE")
    return Condition(f"{column} IN ({_marks(values)})", tuple(values))


def _none_of(column: str, values: Sequence[Any]) -> Condition:
    if not values:
        return Condition("TRUE")
    return Condition(f"({column} IS NULL OR {column} NOT IN ({_marks(values)}))", tuple(values))


def _like(column: str, pattern: str) -> Condition:
    return Condition(f"lower({column}) LIKE lower(?) ESCAPE '\\'", (pattern,))


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _marks(values: Sequence[Any]) -> str:
    return ",".join("?" * len(values))


def _within(sql: str, condition: Condition) -> Condition:
    return Condition(sql.format(condition.sql), condition.bindings)


def _fields(operator: Operator, *fields: Iterable[Condition]) -> Condition:
    """The conditions of a filter's fields: those within one field all hold, the fields are joined by the operator."""
    parts = [list(field) for field in fields]
    return _joined(operator, [_all(part) for part in parts if part])


def _all(conditions: Sequence[Condition]) -> Condition:
    return _joined(Operator.and_, conditions)


def _any(conditions: Sequence[Condition]) -> Condition:
    return _joined(Operator.or_, conditions) if conditions else Condition("FALSE")


def _joined(operator: Operator, conditions: Sequence[Condition]) -> Condition:
    """All or any of the conditions; a filter that asks for nothing is true for every row."""
    if not conditions:
        return Condition("TRUE")
    if len(conditions) == 1:
        return conditions[0]
    word = " AND " if operator is Operator.and_ else " OR "
    sql = word.join(condition.sql for condition in conditions)
    return Condition(f"({sql})", tuple(value for condition in conditions for value in condition.bindings))
