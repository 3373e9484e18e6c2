"""Turns filters into SQL conditions with bound values.

The conditions name their tables (`flow`, `flow_run`, `task_run`, `log`), so they fit any query that selects from these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from tidemill import clock, ids
from tidemill.filters import (
    ArtifactFilter,
    CreatedByFilter,
    ExistsFilter,
    Filters,
    FlowFilter,
    FlowRunFilter,
    IdFilter,
    KeyFilter,
    LevelFilter,
    LogFilter,
    MembershipFilter,
    NameFilter,
    NullFilter,
    Operator,
    StateFilter,
    StateTypeFilter,
    TagsFilter,
    TaskRunFilter,
    TextSearchFilter,
    TimeFilter,
    VariableFilter,
)
from tidemill.states import StateType
from tidemill.store.ordering import FLOW_RUN_BEGAN


class Condition(NamedTuple):
    """A piece of SQL that is true or false for a row, and the values for its question marks."""

    sql: str
    bindings: tuple[Any, ...] = ()


_OF_SUCH_FLOWS = "flow_run.flow_id IN (SELECT flow.id FROM flow WHERE {})"
_WITH_SUCH_A_FLOW = "EXISTS (SELECT 1 FROM flow WHERE flow.id = flow_run.flow_id AND {})"
_TERM = re.compile(r'([+-]?)(?:"([^"]*)"|(\S+))')


def flow_condition(filters: Filters) -> Condition:
    """Which flows: by themselves, and by having such runs."""
    conditions = [_flow(filters.flows), *_of_deployments(filters)]
    if filters.flow_runs or filters.task_runs:
        inner = flow_run_condition(Filters(flow_runs=filters.flow_runs, task_runs=filters.task_runs))
        conditions.append(_within("flow.id IN (SELECT flow_run.flow_id FROM flow_run WHERE {})", inner))
    return _all(conditions)


def flow_run_condition(filters: Filters, *, in_order: bool = False, in_order_of_state: bool = False) -> Condition:
    """Which flow runs: by themselves, by their flow, and by having such task runs.

    Args:
        in_order: spelled so that no index is used but that of the order in which they are wanted: where many match, the first
            are found sooner by reading on than by looking all up.
        in_order_of_state: the same of the index that has them in that order for each type of state.
    """
    conditions = [_flow_run(filters.flow_runs, in_order), *_of_deployments(filters)]
    in_order = in_order or in_order_of_state
    if filters.flows:
        conditions.append(_within(_WITH_SUCH_A_FLOW if in_order else _OF_SUCH_FLOWS, _flow(filters.flows)))
    if filters.task_runs:
        sql = "EXISTS (SELECT 1 FROM task_run WHERE task_run.flow_run_id = flow_run.id AND {})"
        conditions.append(_within(sql, _task_run(filters.task_runs)))
    return _all(conditions)


def indexed_conditions(filters: Filters, *, beside_state: bool = False) -> list[Condition] | None:
    """Those conditions on flow runs by each of which an index finds all that match; None if it is sure to find few.

    Args:
        beside_state: without that on the type of state.
    """
    filter = filters.flow_runs or FlowRunFilter()
    if filter.operator is Operator.or_:
        return []
    by_id = (filter.id, filter.parent_flow_run_id, filter.parent_task_run_id)
    by_text = (filter.name, filter.idempotency_key)
    if any(each is not None and each.any_ is not None and each.is_null_ is None for each in by_id):
        return None
    if any(each is not None and each.any_ is not None for each in by_text):
        return None
    types = None if beside_state else _types(filter)
    conditions = [] if types is None else [_one_of("flow_run.state_type", [type.value for type in types])]
    if filters.flows is not None:
        conditions.append(_within(_OF_SUCH_FLOWS, _flow(filters.flows)))
    return conditions


def on_each_state(filters: Filters) -> list[Filters] | None:
    """The same filters for each type of state, one by one, to which they limit flow runs; None where they do not."""
    filter = filters.flow_runs
    types = None if filter is None else _types(filter)
    if filter is None or types is None:
        return None
    return [_with_type(filters, filter, type) for type in dict.fromkeys(types)]


def _types(filter: FlowRunFilter) -> list[StateType] | None:
    """The types of state to which it limits flow runs."""
    state = filter.state
    if filter.operator is Operator.or_ or state is None or state.operator is Operator.or_ or state.type is None:
        return None
    return state.type.any_


def _with_type(filters: Filters, filter: FlowRunFilter, type: StateType) -> Filters:
    state = filter.state or StateFilter()
    state = replace(state, type=replace(state.type or StateTypeFilter(), any_=[type]))
    return replace(filters, flow_runs=replace(filter, state=state))


def task_run_condition(filters: Filters) -> Condition:
    """Which task runs: by themselves, by their flow run, and by its flow."""
    conditions = [_task_run(filters.task_runs), *_of_deployments(filters)]
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


def _flow(filter: FlowFilter | None) -> Condition:
    if filter is None:
        return _all([])
    return _fields(
        filter.operator,
        _on_id("flow.id", filter.id),
        _on_name("flow.name", filter.name),
        _on_tags("flow.tags", filter.tags),
        _on_nothing(filter.deployment),
    )


def _flow_run(filter: FlowRunFilter | None, in_order: bool = False) -> Condition:
    if filter is None:
        return _all([])
    return _fields(
        filter.operator,
        _on_id("flow_run.id", filter.id),
        _on_name("flow_run.name", filter.name),
        _on_tags("flow_run.tags", filter.tags),
        _on_state("flow_run", filter.state, in_order),
        _on_name("flow_run.flow_version", filter.flow_version),
        _on_time("flow_run.start_time", filter.start_time),
        _on_time("flow_run.end_time", filter.end_time),
        _on_time("flow_run.expected_start_time", filter.expected_start_time),
        _on_id("flow_run.parent_flow_run_id", filter.parent_flow_run_id),
        _on_id("flow_run.parent_task_run_id", filter.parent_task_run_id),
        _on_name("flow_run.idempotency_key", filter.idempotency_key),
        _on_next_start(filter.next_scheduled_start_time),
        _on_nothing(filter.deployment_id),
        _on_nothing(filter.work_queue_name),
        _on_nothing(filter.created_by),
        _on_any_name(filter.any_name),
        _on_time(FLOW_RUN_BEGAN, filter.began),
    )


def _on_any_name(filter: NameFilter | None) -> Iterable[Condition]:
    if filter is not None:
        of_flow = _within(_OF_SUCH_FLOWS, _all([*_on_name("flow.name", filter)]))
        yield _any([_all([*_on_name("flow_run.name", filter)]), of_flow])


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


def _of_deployments(filters: Filters) -> Iterable[Condition]:
    """There are no deployments, work pools and queues yet, so nothing belongs to any."""
    if filters.deployments or filters.work_pools or filters.work_queues:
        yield Condition("FALSE")


def _on_nothing(filter: IdFilter | NullFilter | MembershipFilter | CreatedByFilter | None) -> Iterable[Condition]:
    """On what no record has yet: it is null, and none of anything."""
    if filter is None:
        return
    conditions = [Condition("TRUE" if filter.is_null_ else "FALSE")] if filter.is_null_ is not None else []
    conditions += [Condition("FALSE") for name in ("any_", "id_", "type_") if getattr(filter, name, None) is not None]
    yield _joined(filter.operator, conditions)


def _on_next_start(filter: TimeFilter | None) -> Iterable[Condition]:
    """On when a run is to start that is scheduled; of another, that is null."""
    if filter is None:
        return
    scheduled = Condition("flow_run.state_type = 'SCHEDULED'")
    if filter.is_null_ is not None:
        yield _within("NOT {}", scheduled) if filter.is_null_ else scheduled
    if filter.before_ is not None or filter.after_ is not None:
        yield scheduled
    yield from _on_time("flow_run.expected_start_time", replace(filter, is_null_=None))


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
    conditions = [_has_tag(column, tag) for tag in filter.all_ or ()]
    if filter.any_ is not None:
        conditions.append(_any([_has_tag(column, tag) for tag in filter.any_]))
    if filter.is_null_ is not None:
        conditions.append(Condition(f"{column} {'=' if filter.is_null_ else '<>'} '[]'"))
    yield _joined(filter.operator, conditions)


def _has_tag(column: str, tag: str) -> Condition:
    """Whether a tag is one of a list; what does not have it anywhere in the text is not parsed."""
    in_text = f"%{_literal(msgspec.json.encode(tag).decode())}%"
    sql = f"({column} LIKE ? ESCAPE '\\' AND EXISTS (SELECT 1 FROM json_each({column}) AS tag WHERE tag.value = ?))"
    return Condition(sql, (in_text, tag))


def _on_state(table: str, filter: StateFilter | None, in_order: bool = False) -> Iterable[Condition]:
    if filter is None:
        return
    type_column = f"{table}.state_type"
    yield _fields(
        filter.operator,
        _on_state_type(f"{type_column} || ''" if in_order else type_column, filter.type),
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
    # SQLite's LIKE ignores case by itself.
    return Condition(f"{column} /*postgres: I*/LIKE ? ESCAPE '\\'", (pattern,))


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
