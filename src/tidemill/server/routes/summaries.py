"""Runs summed up, as pages show them: histories, counts, and how late runs begin."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import JSONBody
from msgspec import Meta

from tidemill import clock
from tidemill.filters import FlowRunSort, Id, Page
from tidemill.records import TaskRun
from tidemill.server.answers import existing
from tidemill.server.errors import InvalidRequest
from tidemill.server.listing import Criteria, HistoryInterval, HistoryQuery, HistoryState
from tidemill.server.parameters import Offset, PathId
from tidemill.server.requests import microseconds
from tidemill.server.routes.task_runs import NO_TASK_RUN
from tidemill.server.services import TheStore
from tidemill.server.shown import shown
from tidemill.states import StateType
from tidemill.store import reading, summaries

_MOST_INTERVALS = 500
_DASHBOARD_SPANS = 20
_SHORTEST_INTERVAL = 1_000_000


class FlowRunIds(msgspec.Struct, kw_only=True):
    flow_run_ids: Annotated[list[Id], Meta(max_length=200)]


class BriefListing(Criteria, kw_only=True):
    sort: FlowRunSort = FlowRunSort.EXPECTED_START_TIME_DESC
    limit: Annotated[int, Meta(ge=0, le=1000)] = 1000
    offset: Offset = 0


class SimpleFlowRun(msgspec.Struct, kw_only=True):
    """A flow run as a dot in a chart; `duration` and `lateness` are seconds."""

    id: str
    state_type: StateType
    timestamp: datetime
    duration: float
    lateness: float


class TaskRunCount(msgspec.Struct, kw_only=True):
    """How many task runs that began in one span of time completed and failed."""

    completed: int
    failed: int


class TaskRunWithFlowRunName(TaskRun, kw_only=True):
    flow_run_name: str | None = None


@post("/flow_runs/history", status_code=200)
async def read_flow_run_history(store: TheStore, data: JSONBody[HistoryQuery]) -> list[HistoryInterval]:
    """The flow runs that were expected to begin in each span of time, by state; at most 500 spans."""
    start, width, spans = _spans(data)
    now, end = clock.now(), start + width * spans
    slots = await store.read(summaries.flow_run_history, data.filters(), start, width, end, now)
    return _intervals(start, width, spans, slots)


@post("/task_runs/history", status_code=200)
async def read_task_run_history(store: TheStore, data: JSONBody[HistoryQuery]) -> list[HistoryInterval]:
    """The task runs that were expected to begin in each span of time, by state; at most 500 spans."""
    start, width, spans = _spans(data)
    now, end = clock.now(), start + width * spans
    slots = await store.read(summaries.task_run_history, data.filters(), start, width, end, now)
    return _intervals(start, width, spans, slots)


@post("/flow_runs/lateness", status_code=200)
async def read_average_lateness(store: TheStore, data: JSONBody[Criteria | None] = None) -> float | None:
    """How many seconds late the flow runs began that filters ask for, on average."""
    return await store.read(summaries.flow_run_lateness, (data or Criteria()).filters(), clock.now())


@post("/ui/flow_runs/history", status_code=200)
async def read_brief_flow_runs(store: TheStore, data: JSONBody[BriefListing | None] = None) -> list[SimpleFlowRun]:
    """A page of the flow runs that filters ask for, in brief."""
    asked = data or BriefListing()
    page = Page(asked.limit, asked.offset)
    runs = await store.read(summaries.brief_flow_runs, asked.filters(), asked.sort, page, clock.now())
    return [
        SimpleFlowRun(
            id=run.id,
            state_type=run.state_type,
            timestamp=clock.to_datetime(run.began),
            duration=run.run_time,
            lateness=run.lateness,
        )
        for run in runs
    ]


@post("/ui/flow_runs/count-task-runs", status_code=200)
async def count_task_runs_by_flow_run(store: TheStore, data: JSONBody[FlowRunIds]) -> dict[str, int]:
    """How many task runs each of these flow runs has, without those that stand for subflow runs."""
    return await store.read(summaries.task_runs_by_flow_run, data.flow_run_ids)


@post("/ui/task_runs/count", status_code=200)
async def count_task_runs_by_state(store: TheStore, data: JSONBody[Criteria | None] = None) -> dict[str, int]:
    """How many task runs that filters ask for there are in each type of state."""
    return await store.read(summaries.task_runs_by_state, (data or Criteria()).filters())


@post("/ui/task_runs/dashboard/counts", status_code=200)
async def read_dashboard_counts(store: TheStore, data: JSONBody[Criteria]) -> list[TaskRunCount]:
    """In twenty spans from `task_runs.start_time.after_` up to `before_` or now: how many task runs completed and failed."""
    times = data.task_runs.start_time if data.task_runs is not None else None
    if times is None or times.after_ is None:
        raise InvalidRequest("task_runs.start_time.after_ says from when on; it is needed here.")
    start = microseconds(times.after_)
    end = microseconds(times.before_) if times.before_ is not None else clock.now()
    width = max(1, -(-(end - start) // _DASHBOARD_SPANS))
    counts = await store.read(summaries.ended_task_runs, data.filters(), start, width, _DASHBOARD_SPANS)
    return [TaskRunCount(completed=count["completed"], failed=count["failed"]) for count in counts]


@get("/ui/task_runs/{task_run_id:str}")
async def read_task_run_with_flow_run_name(store: TheStore, task_run_id: PathId) -> TaskRunWithFlowRunName:
    """The task run of this id, with the name of its flow run."""
    run = shown(existing(await store.read(reading.task_run, task_run_id), NO_TASK_RUN))
    flow_run = await store.read(reading.flow_run, run.flow_run_id) if run.flow_run_id is not None else None
    known = {name: getattr(run, name) for name in run.__struct_fields__}
    return TaskRunWithFlowRunName(**known, flow_run_name=flow_run.name if flow_run is not None else None)


def _spans(asked: HistoryQuery) -> tuple[int, int, int]:
    """Where the first span begins, how wide each is, and how many there are."""
    start, end = microseconds(asked.history_start), microseconds(asked.history_end)
    width = int(asked.history_interval_seconds * 1_000_000)
    if width < _SHORTEST_INTERVAL:
        raise InvalidRequest("history_interval_seconds must be at least 1.")
    return start, width, min(max(0, -(-(end - start) // width)), _MOST_INTERVALS)


def _intervals(start: int, width: int, spans: int, slots: list[summaries.Slot]) -> list[HistoryInterval]:
    states: dict[int, list[HistoryState]] = defaultdict(list)
    for slot in slots:
        state = HistoryState(
            state_type=slot.state_type,
            state_name=slot.state_name,
            count_runs=slot.runs,
            sum_estimated_run_time=slot.run_time,
            sum_estimated_lateness=slot.lateness,
        )
        states[slot.number].append(state)
    return [
        HistoryInterval(
            interval_start=clock.to_datetime(start + width * number),
            interval_end=clock.to_datetime(start + width * (number + 1)),
            states=states[number],
        )
        for number in range(spans)
    ]


HANDLERS = [
    read_flow_run_history,
    read_task_run_history,
    read_average_lateness,
    read_brief_flow_runs,
    count_task_runs_by_flow_run,
    count_task_runs_by_state,
    read_dashboard_counts,
    read_task_run_with_flow_run_name,
]
