"""Filter, sort, page: what a reader may ask for. The shapes and names are those of the REST API's request bodies."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, NamedTuple

import msgspec

from tidemill.states import StateType

Id = Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$")]


class Operator(str, Enum):
    """How the conditions of one filter are joined."""

    and_ = "and_"
    or_ = "or_"


class Page(NamedTuple):
    """A piece of a list. A `limit` of None means all of it."""

    limit: int | None = 200
    offset: int = 0


class _Filter(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class IdFilter(_Filter):
    """On an id, one's own or of something that it belongs to."""

    operator: Operator = Operator.and_
    any_: list[Id] | None = None
    not_any_: list[Id] | None = None
    is_null_: bool | None = None


class NameFilter(_Filter):
    """On a text. `like_` finds a part of it and `startswith_` any of several beginnings, in either case."""

    any_: list[str] | None = None
    not_any_: list[str] | None = None
    like_: str | None = None
    startswith_: list[str] | None = None


class TimeFilter(_Filter):
    """On a time; both ends are part of the span. One without a zone is UTC."""

    before_: datetime | None = None
    after_: datetime | None = None
    is_null_: bool | None = None

    def __post_init__(self) -> None:
        self.before_, self.after_ = _in_utc(self.before_), _in_utc(self.after_)


def _in_utc(when: datetime | None) -> datetime | None:
    if when is None or when.tzinfo is None:
        return when and when.replace(tzinfo=UTC)
    try:
        return when.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{when.isoformat()} is outside the calendar in UTC") from None


class TagsFilter(_Filter):
    """On tags: has all of these, has any of these, has none at all (`is_null_`)."""

    operator: Operator = Operator.and_
    all_: list[str] | None = None
    any_: list[str] | None = None
    is_null_: bool | None = None


class StateTypeFilter(_Filter):
    any_: list[StateType] | None = None
    not_any_: list[StateType] | None = None


class StateFilter(_Filter):
    """On the current state, by type, name, or both."""

    operator: Operator = Operator.and_
    type: StateTypeFilter | None = None
    name: NameFilter | None = None


class LevelFilter(_Filter):
    """On a log level; both ends are part of the span."""

    ge_: int | None = None
    le_: int | None = None


class TextSearchFilter(_Filter):
    """On what a line says: any of the words, every `+word`, no `-word`; `"several words"` in quotes are one."""

    query: Annotated[str, msgspec.Meta(max_length=200)]


class ExistsFilter(_Filter):
    exists_: bool | None = None


class NullFilter(_Filter):
    operator: Operator = Operator.and_
    is_null_: bool | None = None


class MembershipFilter(_Filter):
    """On the name of something that a run may belong to."""

    operator: Operator = Operator.and_
    any_: list[str] | None = None
    is_null_: bool | None = None


class CreatedByFilter(_Filter):
    """On who had a run created."""

    operator: Operator = Operator.and_
    id_: list[Id] | None = None
    type_: list[str] | None = None
    is_null_: bool | None = None


class FlowFilter(_Filter):
    operator: Operator = Operator.and_
    deployment: NullFilter | None = None
    id: IdFilter | None = None
    name: NameFilter | None = None
    tags: TagsFilter | None = None


class FlowRunFilter(_Filter):
    operator: Operator = Operator.and_
    id: IdFilter | None = None
    name: NameFilter | None = None
    tags: TagsFilter | None = None
    state: StateFilter | None = None
    flow_version: NameFilter | None = None
    start_time: TimeFilter | None = None
    end_time: TimeFilter | None = None
    expected_start_time: TimeFilter | None = None
    parent_flow_run_id: IdFilter | None = None
    parent_task_run_id: IdFilter | None = None
    idempotency_key: NameFilter | None = None
    next_scheduled_start_time: TimeFilter | None = None
    deployment_id: IdFilter | None = None
    work_queue_name: MembershipFilter | None = None
    created_by: CreatedByFilter | None = None
    # Either the run's own name or that of its flow.
    any_name: NameFilter | None = None
    # When it began or, if it has not yet, when it is to: that by which START_TIME_DESC sorts.
    began: TimeFilter | None = None


class TaskRunFilter(_Filter):
    operator: Operator = Operator.and_
    id: IdFilter | None = None
    name: NameFilter | None = None
    tags: TagsFilter | None = None
    state: StateFilter | None = None
    start_time: TimeFilter | None = None
    end_time: TimeFilter | None = None
    expected_start_time: TimeFilter | None = None
    flow_run_id: IdFilter | None = None
    subflow_runs: ExistsFilter | None = None


class LogFilter(_Filter):
    operator: Operator = Operator.and_
    level: LevelFilter | None = None
    timestamp: TimeFilter | None = None
    flow_run_id: IdFilter | None = None
    task_run_id: IdFilter | None = None
    text: TextSearchFilter | None = None


class KeyFilter(_Filter):
    """On a key, or a name that is one. In `like_`, `%` stands for anything."""

    any_: list[str] | None = None
    like_: str | None = None
    exists_: bool | None = None


class VariableFilter(_Filter):
    operator: Operator = Operator.and_
    id: IdFilter | None = None
    name: KeyFilter | None = None
    tags: TagsFilter | None = None


class ArtifactFilter(_Filter):
    operator: Operator = Operator.and_
    id: IdFilter | None = None
    # Of the latest artifact of a key.
    latest_id: IdFilter | None = None
    key: KeyFilter | None = None
    type: NameFilter | None = None
    flow_run_id: IdFilter | None = None
    task_run_id: IdFilter | None = None


class NumberFilter(_Filter):
    """On a number; both ends are part of the span."""

    ge_: int | None = None
    le_: int | None = None
    is_null_: bool | None = None


class FlagFilter(_Filter):
    eq_: bool | None = None


class FlowOrDeploymentNameFilter(_Filter):
    like_: str | None = None


class DeploymentFilter(_Filter):
    operator: Operator = Operator.and_
    id: IdFilter | None = None
    name: NameFilter | None = None
    flow_or_deployment_name: FlowOrDeploymentNameFilter | None = None
    paused: FlagFilter | None = None
    tags: TagsFilter | None = None
    work_queue_name: MembershipFilter | None = None
    concurrency_limit: NumberFilter | None = None


class WorkPoolFilter(_Filter):
    operator: Operator = Operator.and_
    id: IdFilter | None = None
    name: NameFilter | None = None
    type: NameFilter | None = None


class WorkQueueFilter(_Filter):
    operator: Operator = Operator.and_
    id: IdFilter | None = None
    name: NameFilter | None = None


class Filters(_Filter):
    """What a listing of flows, flow runs or task runs is narrowed by: itself, and what it belongs to or consists of."""

    flows: FlowFilter | None = None
    flow_runs: FlowRunFilter | None = None
    task_runs: TaskRunFilter | None = None
    deployments: DeploymentFilter | None = None
    work_pools: WorkPoolFilter | None = None
    work_queues: WorkQueueFilter | None = None


class FlowSort(str, Enum):
    CREATED_DESC = "CREATED_DESC"
    UPDATED_DESC = "UPDATED_DESC"
    NAME_ASC = "NAME_ASC"
    NAME_DESC = "NAME_DESC"


class FlowRunSort(str, Enum):
    """`ID_DESC` is newest first, since ids begin with the time of their making."""

    ID_DESC = "ID_DESC"
    START_TIME_ASC = "START_TIME_ASC"
    START_TIME_DESC = "START_TIME_DESC"
    EXPECTED_START_TIME_ASC = "EXPECTED_START_TIME_ASC"
    EXPECTED_START_TIME_DESC = "EXPECTED_START_TIME_DESC"
    NAME_ASC = "NAME_ASC"
    NAME_DESC = "NAME_DESC"
    NEXT_SCHEDULED_START_TIME_ASC = "NEXT_SCHEDULED_START_TIME_ASC"
    END_TIME_DESC = "END_TIME_DESC"


class TaskRunSort(str, Enum):
    """`ID_DESC` is newest first, since ids begin with the time of their making."""

    ID_DESC = "ID_DESC"
    EXPECTED_START_TIME_ASC = "EXPECTED_START_TIME_ASC"
    EXPECTED_START_TIME_DESC = "EXPECTED_START_TIME_DESC"
    NAME_ASC = "NAME_ASC"
    NAME_DESC = "NAME_DESC"
    NEXT_SCHEDULED_START_TIME_ASC = "NEXT_SCHEDULED_START_TIME_ASC"
    END_TIME_DESC = "END_TIME_DESC"
    DURATION_DESC = "DURATION_DESC"
    DURATION_ASC = "DURATION_ASC"


class LogSort(str, Enum):
    TIMESTAMP_ASC = "TIMESTAMP_ASC"
    TIMESTAMP_DESC = "TIMESTAMP_DESC"


class VariableSort(str, Enum):
    CREATED_DESC = "CREATED_DESC"
    UPDATED_DESC = "UPDATED_DESC"
    NAME_ASC = "NAME_ASC"
    NAME_DESC = "NAME_DESC"


class ArtifactSort(str, Enum):
    """`ID_DESC` is newest first, since ids begin with the time of their making."""

    CREATED_DESC = "CREATED_DESC"
    UPDATED_DESC = "UPDATED_DESC"
    ID_DESC = "ID_DESC"
    KEY_ASC = "KEY_ASC"
    KEY_DESC = "KEY_DESC"


EVERYTHING = Filters()
ALL = Page(limit=None)
FIRST_PAGE = Page()
