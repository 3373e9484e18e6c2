"""Why a flow run failed, for a page."""

from __future__ import annotations

from litestar import get

from tidemill.server.answers import existing
from tidemill.server.parameters import PathId
from tidemill.server.routes.flow_runs import NO_FLOW_RUN
from tidemill.server.services import TheStore
from tidemill.store import failures, reading
from tidemill.store.failures import Failure


@get("/ui/flow_runs/{flow_run_id:str}/failure")
async def read_failure(store: TheStore, flow_run_id: PathId) -> Failure | None:
    """The exception that made a flow run fail or crash, with the task run that it came from, in this run or in a subflow run;
    null if it has not failed. Where no exception is known, `type` and `message` are the name and message of the state."""
    found = await store.read(failures.failure, flow_run_id)
    if found is None:
        existing(await store.read(reading.current_state, flow_run_id), NO_FLOW_RUN)
    return found


HANDLERS = [read_failure]
