"""What bodies of requests for lists hold: filters, a sort, and which piece of the list."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from tidemill.filters import (
    DeploymentFilter,
    Filters,
    FlowFilter,
    FlowRunFilter,
    FlowRunSort,
    FlowSort,
    LogFilter,
    LogSort,
    Page,
    TaskRunFilter,
    TaskRunSort,
    WorkPoolFilter,
    WorkQueueFilter,
)
from tidemill.server.errors import InvalidRequest
from tidemill.server.parameters import Offset
from tidemill.server.services import Services
from tidemill.states import StateType

T = TypeVar("T")

Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
PageNumber = Annotated[int, Meta(ge=1, le=2**31 - 1)]
BulkLimit = Annotated[int, Meta(ge=1, le=50)]
Interval = Annotated[float, Meta(gt=0, le=1e9)]


class Criteria(msgspec.Struct, kw_only=True):
    """Which runs or flows; what is not named narrows nothing."""

    flows: FlowFilter | None = None
    flow_runs: FlowRunFilter | None = None
    task_runs: TaskRunFilter | None = None
    deployments: DeploymentFilter | None = None
    work_pools: WorkPoolFilter | None = None
    work_pool_queues: WorkQueueFilter | None = None
    work_queues: WorkQueueFilter | None = None

    def filters(self) -> Filters:
        return Filters(
            flows=self.flows,
            flow_runs=self.flow_runs,
            task_runs=self.task_runs,
            deployments=self.deployments,
            work_pools=self.work_pools,
            work_queues=self.work_pool_queues or self.work_queues,
        )


class Piece(msgspec.Struct, kw_only=True):
    """Which piece of a list. The field's clients send `null` for what they do not name."""

    limit: Count | None = None
    offset: Offset | None = None


class Listing(Criteria, kw_only=True):
    """A piece of a list. The field's clients send `null` for a sort that they do not name; `order` is what it is then."""

    limit: Count | None = None
    offset: Offset | None = None


class FlowListing(Listing, kw_only=True):
    sort: FlowSort | None = None

    @property
    def order(self) -> FlowSort:
        return self.sort or FlowSort.NAME_ASC


class FlowRunListing(Listing, kw_only=True):
    sort: FlowRunSort | None = None

    @property
    def order(self) -> FlowRunSort:
        return self.sort or FlowRunSort.ID_DESC


class TaskRunListing(Listing, kw_only=True):
    sort: TaskRunSort | None = None

    @property
    def order(self) -> TaskRunSort:
        return self.sort or TaskRunSort.ID_DESC


class LogListing(Piece, kw_only=True):
    logs: LogFilter | None = None
    sort: LogSort | None = None

    @property
    def order(self) -> LogSort:
        return self.sort or LogSort.TIMESTAMP_ASC


class Paging(Criteria, kw_only=True):
    limit: Count | None = None
    page: PageNumber = 1


class FlowPaging(Paging, kw_only=True):
    sort: FlowSort | None = None

    @property
    def order(self) -> FlowSort:
        return self.sort or FlowSort.NAME_ASC


class FlowRunPaging(Paging, kw_only=True):
    sort: FlowRunSort | None = None

    @property
    def order(self) -> FlowRunSort:
        return self.sort or FlowRunSort.ID_DESC


class TaskRunPaging(Paging, kw_only=True):
    sort: TaskRunSort | None = None

    @property
    def order(self) -> TaskRunSort:
        return self.sort or TaskRunSort.ID_DESC


class Paginated(msgspec.Struct, Generic[T], kw_only=True):
    """One page of a list, and how many there are of what."""

    results: list[T]
    count: int
    limit: int
    pages: int
    page: int


class HistoryQuery(Criteria, kw_only=True):
    history_start: datetime
    history_end: datetime
    history_interval_seconds: Interval


class HistoryState(msgspec.Struct, kw_only=True):
    """The runs of one state in a span of time. Times are seconds, all of these runs together."""

    state_type: StateType
    state_name: str
    count_runs: int
    sum_estimated_run_time: float
    sum_estimated_lateness: float


class HistoryInterval(msgspec.Struct, kw_only=True):
    interval_start: datetime
    interval_end: datetime
    states: list[HistoryState]


def page_of(services: Services, limit: int | None, offset: int | None) -> Page:
    """The piece of a list that a body asks for.

    Raises:
        InvalidRequest: it is larger than this server gives at once.
    """
    most = services.settings.server_api_default_limit
    if limit is not None and limit > most:
        raise InvalidRequest(f"limit is {limit}; {most} is the most at once (TIDEMILL_SERVER_API_DEFAULT_LIMIT).")
    return Page(most if limit is None else limit, offset or 0)


def paging_of(services: Services, asked: Paging) -> Page:
    """The same of a body that asks for a page by its number."""
    page = page_of(services, asked.limit, 0)
    return Page(page.limit, (page.limit or 0) * (asked.page - 1))


def paginated(asked: Paging, page: Page, results: list[T], count: int) -> Paginated[T]:
    """A page of a list as the API answers it."""
    limit = page.limit or 0
    pages = -(-count // limit) if limit else 0
    return Paginated(results=results, count=count, limit=limit, pages=pages, page=asked.page)
