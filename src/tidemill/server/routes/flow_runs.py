"""Flow runs: made, read and listed. What is done with them stands in `flow_run_actions`."""

from __future__ import annotations

from typing import cast

import msgspec
from litestar import Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody

from tidemill.ids import new_id
from tidemill.orchestration import requests
from tidemill.records import FlowRun, NewFlowRun
from tidemill.server.answers import existing
from tidemill.server.errors import InvalidRequest
from tidemill.server.listing import Criteria, FlowRunListing, FlowRunPaging, Paginated, page_of, paginated, paging_of
from tidemill.server.parameters import PathId
from tidemill.server.requests import FlowRunCreate, StateCreate, name_or_two_words
from tidemill.server.services import TheServices, TheStore
from tidemill.server.shown import shown
from tidemill.states import StateType
from tidemill.store import reading

NO_FLOW_RUN = "There is no such flow run; it may have been deleted. POST /api/flow_runs/filter lists them."
_encode = msgspec.json.Encoder().encode


@post("/flow_runs", responses={200: ResponseSpec(FlowRun, generate_examples=False, description="It is there already.")})
async def create_flow_run(store: TheStore, data: JSONBody[FlowRunCreate]) -> Response[FlowRun]:
    """A flow run, which the client executes: 201 if it was created, 200 if there is one of its id or idempotency key."""
    state = (data.state or StateCreate(type=StateType.PENDING)).to_state()
    run, created = await store.write(requests.register_flow_run, _new(data), state, data.labels or {})
    return Response(shown(run), status_code=201 if created else 200)


@get("/flow_runs/{flow_run_id:str}")
async def read_flow_run(store: TheStore, flow_run_id: PathId) -> FlowRun:
    """The flow run of this id."""
    return shown(existing(await store.read(reading.flow_run, flow_run_id), NO_FLOW_RUN))


@post("/flow_runs/filter", status_code=200)
async def read_flow_runs(store: TheStore, services: TheServices, data: JSONBody[FlowRunListing | None] = None) -> list[FlowRun]:
    """A page of the flow runs that filters ask for."""
    asked = data or FlowRunListing()
    page = page_of(services, asked.limit, asked.offset)
    encoded = await store.read(services.flow_run_pages.page, asked.filters(), asked.order, page)
    return cast("list[FlowRun]", encoded)


@post("/flow_runs/count", status_code=200)
async def count_flow_runs(store: TheStore, data: JSONBody[Criteria | None] = None) -> int:
    """How many flow runs filters ask for."""
    return await store.read(reading.count_flow_runs, (data or Criteria()).filters())


@post("/flow_runs/paginate", status_code=200)
async def paginate_flow_runs(
    store: TheStore, services: TheServices, data: JSONBody[FlowRunPaging | None] = None
) -> Paginated[FlowRun]:
    """A page of the flow runs that filters ask for, by its number, and how many there are."""
    asked = data or FlowRunPaging()
    page, filters = paging_of(services, asked), asked.filters()
    encoded = await store.read(services.flow_run_pages.page, filters, asked.order, page)
    count = await store.read(reading.count_flow_runs, filters)
    return paginated(asked, page, cast("list[FlowRun]", encoded), count)


def _new(data: FlowRunCreate) -> NewFlowRun:
    for name in ("deployment_id", "work_pool_name", "work_queue_name", "infrastructure_document_id"):
        if getattr(data, name) is not None:
            raise InvalidRequest(f"{name}: this server has no deployments and work pools, so no run can belong to one.")
    return NewFlowRun(
        id=data.id or new_id(),
        name=name_or_two_words(data.name),
        flow_name="",
        flow_id=data.flow_id,
        flow_version=data.flow_version,
        parameters=_encode(data.parameters),
        context=_encode(data.context),
        job_variables=_encode(data.job_variables or {}),
        tags=data.tags,
        policy=data.empirical_policy.to_policy(),
        parent_task_run_id=data.parent_task_run_id,
        idempotency_key=data.idempotency_key,
    )


HANDLERS = [create_flow_run, read_flow_run, read_flow_runs, count_flow_runs, paginate_flow_runs]
