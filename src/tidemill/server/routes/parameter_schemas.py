"""What a flow run was called with, and what its flow takes, for the form by which another run is called."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import get

from tidemill import parameter_schemas
from tidemill.server.answers import existing
from tidemill.server.parameters import PathId
from tidemill.server.routes.flow_runs import NO_FLOW_RUN
from tidemill.server.services import TheStore
from tidemill.store import flows, reading


class ParameterSchema(msgspec.Struct, kw_only=True):
    """The JSON schema of a flow's parameters, and the values of one run. Unless it was `recorded` when the flow was called, it
    is inferred from these values: then it says what they are, not what else there could be."""

    schema: dict[str, Any]
    values: dict[str, Any]
    recorded: bool


@get("/ui/flow_runs/{flow_run_id:str}/parameter_schema")
async def read_parameter_schema(store: TheStore, flow_run_id: PathId) -> ParameterSchema:
    """The JSON schema of the parameters of a run's flow, and the run's values of them."""
    run = existing(await store.read(reading.flow_run, flow_run_id), NO_FLOW_RUN)
    recorded = await store.read(flows.recorded_parameters, run.flow_id or "")
    schema = parameter_schemas.inferred(run.parameters) if recorded is None else msgspec.json.decode(recorded)
    return ParameterSchema(schema=schema, values=run.parameters, recorded=recorded is not None)


HANDLERS = [read_parameter_schema]
