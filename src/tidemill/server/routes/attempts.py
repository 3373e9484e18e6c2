"""The attempts of a flow run, for a page."""

from __future__ import annotations

from litestar import get

from tidemill.server.answers import existing
from tidemill.server.parameters import PathId
from tidemill.server.routes.flow_runs import NO_FLOW_RUN
from tidemill.server.services import TheStore
from tidemill.store import attempts, reading
from tidemill.store.attempts import Attempt


@get("/ui/flow_runs/{flow_run_id:str}/attempts")
async def read_attempts(store: TheStore, flow_run_id: PathId) -> list[Attempt]:
    """The attempts of a flow run: when each began and ended, how many task runs it executed, with the states in which it left
    them, and how many it reused, since they had completed before."""
    found = await store.read(attempts.attempts, flow_run_id)
    if not found:
        existing(await store.read(reading.current_state, flow_run_id), NO_FLOW_RUN)
    return found


HANDLERS = [read_attempts]
