"""Inputs that flow runs are given while they run: texts under a key."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import MediaType, delete, get, post
from litestar.params import FromPath, JSONBody

from tidemill import clock
from tidemill.server.answers import existing
from tidemill.server.errors import Conflict
from tidemill.server.listing import Count, page_of
from tidemill.server.parameters import PathId
from tidemill.server.services import TheServices, TheStore
from tidemill.side_records import FlowRunInput, NewFlowRunInput
from tidemill.store import flow_run_inputs

_NO_INPUT = "This flow run has no input of this key."


class FilterInputs(msgspec.Struct, kw_only=True):
    prefix: str
    limit: Count | None = None
    exclude_keys: Annotated[list[str], msgspec.Meta(max_length=1000)] | None = None


@post("/flow_runs/{flow_run_id:str}/input")
async def create_flow_run_input(store: TheStore, flow_run_id: PathId, data: JSONBody[NewFlowRunInput]) -> None:
    """Gives a flow run an input; 409 if it has one of this key."""
    made = await store.transact(flow_run_inputs.create, flow_run_id, data, clock.now())
    if made is False:
        raise Conflict(f"Flow run {flow_run_id} has an input {data.key!r} already; an input never changes.")
    existing(made, f"There is no flow run {flow_run_id}; it may have been deleted.")


@post("/flow_runs/{flow_run_id:str}/input/filter", status_code=200)
async def filter_flow_run_inputs(
    store: TheStore, services: TheServices, flow_run_id: PathId, data: JSONBody[FilterInputs]
) -> list[FlowRunInput]:
    """The inputs of a flow run whose keys begin like this, oldest first; one, if nothing is said."""
    page = page_of(services, 1 if data.limit is None else data.limit, None)
    return await store.read(flow_run_inputs.inputs, flow_run_id, data.prefix, data.exclude_keys or (), page)


@get("/flow_runs/{flow_run_id:str}/input/{key:str}", media_type=MediaType.TEXT)
async def read_flow_run_input(store: TheStore, flow_run_id: PathId, key: FromPath[str]) -> str:
    """The text of an input, as it was given."""
    return existing(await store.read(flow_run_inputs.value, flow_run_id, key), _NO_INPUT)


@delete("/flow_runs/{flow_run_id:str}/input/{key:str}")
async def delete_flow_run_input(store: TheStore, flow_run_id: PathId, key: FromPath[str]) -> None:
    """Removes an input."""
    existing(await store.transact(flow_run_inputs.delete, flow_run_id, key), _NO_INPUT)


HANDLERS = [create_flow_run_input, filter_flow_run_inputs, read_flow_run_input, delete_flow_run_input]
