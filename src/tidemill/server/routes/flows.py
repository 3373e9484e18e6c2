"""Flows."""

from __future__ import annotations

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody

from tidemill.exceptions import ObjectNotFound
from tidemill.filters import Filters, FlowFilter, FlowSort, Page
from tidemill.orchestration import flows, handed_over
from tidemill.records import Flow
from tidemill.server.answers import existing
from tidemill.server.listing import BulkLimit, Criteria, FlowListing, FlowPaging, Paginated, page_of, paginated, paging_of
from tidemill.server.parameters import PathId
from tidemill.server.requests import FlowCreate, FlowUpdate
from tidemill.server.result_files import remove_files
from tidemill.server.services import TheServices, TheStore
from tidemill.store import reading
from tidemill.texts import storable

NO_FLOW = "There is no such flow; POST /api/flows/filter lists them."


class DeleteFlows(msgspec.Struct, kw_only=True):
    flows: FlowFilter | None = None
    limit: BulkLimit = 50


class Deleted(msgspec.Struct):
    """The ids of what was removed."""

    deleted: list[str]


@post("/flows", responses={200: ResponseSpec(Flow, generate_examples=False, description="It is there already.")})
async def create_flow(store: TheStore, data: JSONBody[FlowCreate]) -> Response[Flow]:
    """The flow of this name: 201 if it was created, 200 if it is there already."""
    flow, created = await store.write(flows.ensure_flow, storable(data.name), data.tags, data.labels or {})
    return Response(flow, status_code=201 if created else 200)


@get("/flows/{flow_id:str}")
async def read_flow(store: TheStore, flow_id: PathId) -> Flow:
    """The flow of this id."""
    return existing(await store.read(reading.flow, flow_id), NO_FLOW)


@get("/flows/name/{name:str}")
async def read_flow_by_name(store: TheStore, name: FromPath[str]) -> Flow:
    """The flow of this name."""
    return existing(await store.read(reading.flow_by_name, name), NO_FLOW)


@patch("/flows/{flow_id:str}", status_code=204)
async def update_flow(store: TheStore, flow_id: PathId, data: JSONBody[FlowUpdate]) -> None:
    """Changes the tags or labels of a flow."""
    columns = {name: getattr(data, name) for name in ("tags", "labels") if getattr(data, name) is not msgspec.UNSET}
    await store.write(flows.change_flow, flow_id, columns)


@delete("/flows/{flow_id:str}")
async def delete_flow(store: TheStore, services: TheServices, flow_id: PathId) -> None:
    """Removes a flow with all its runs, and those of their result files that are the server's."""
    await _delete(store, services, flow_id)


@post("/flows/filter", status_code=200)
async def read_flows(store: TheStore, services: TheServices, data: JSONBody[FlowListing | None] = None) -> list[Flow]:
    """A page of the flows that filters ask for."""
    asked = data or FlowListing()
    return await store.read(reading.flows, asked.filters(), asked.order, page_of(services, asked.limit, asked.offset))


@post("/flows/count", status_code=200)
async def count_flows(store: TheStore, data: JSONBody[Criteria | None] = None) -> int:
    """How many flows filters ask for."""
    return await store.read(reading.count_flows, (data or Criteria()).filters())


@post("/flows/paginate", status_code=200)
async def paginate_flows(store: TheStore, services: TheServices, data: JSONBody[FlowPaging | None] = None) -> Paginated[Flow]:
    """A page of the flows that filters ask for, by its number, and how many there are."""
    asked = data or FlowPaging()
    page, filters = paging_of(services, asked), asked.filters()
    results = await store.read(reading.flows, filters, asked.order, page)
    return paginated(asked, page, results, await store.read(reading.count_flows, filters))


@post("/flows/bulk_delete", status_code=200)
async def bulk_delete_flows(store: TheStore, services: TheServices, data: JSONBody[DeleteFlows | None] = None) -> Deleted:
    """Removes the flows that a filter asks for with all their runs, at most `limit`."""
    asked = data or DeleteFlows()
    chosen = await store.read(reading.flows, Filters(flows=asked.flows), FlowSort.NAME_ASC, Page(asked.limit))
    deleted: list[str] = []
    for flow in chosen:
        try:
            await _delete(store, services, flow.id)
        except ObjectNotFound:  # somebody else was quicker
            continue
        deleted.append(flow.id)
    return Deleted(deleted)


async def _delete(store: TheStore, services: TheServices, flow_id: str) -> None:
    unused = await store.write(handed_over.delete_with_runs, flow_id)
    await remove_files(services.settings.results_storage_path, unused)


HANDLERS = [
    create_flow,
    read_flow,
    read_flow_by_name,
    update_flow,
    delete_flow,
    read_flows,
    count_flows,
    paginate_flows,
    bulk_delete_flows,
]
