"""The log lines of a flow run, for a page."""

from __future__ import annotations

from typing import Annotated

from litestar import get
from litestar.params import QueryParameter

from tidemill.server.answers import existing, read_encoded
from tidemill.server.parameters import PathId
from tidemill.server.routes.flow_runs import NO_FLOW_RUN
from tidemill.server.services import TheStore
from tidemill.store import lines
from tidemill.store.lines import Lines

_MOST_LINES = 10_000

_After = Annotated[int, QueryParameter(ge=0, le=2**62, description="The first lines after the one of this number.")]
_Before = Annotated[int | None, QueryParameter(ge=0, le=2**62, description="Instead the last ones before this number.")]
_Limit = Annotated[int, QueryParameter(ge=0, le=_MOST_LINES)]
_Subflows = Annotated[bool, QueryParameter(description="Also those of subflow runs.")]


@get("/ui/flow_runs/{flow_run_id:str}/lines")
async def read_lines(
    store: TheStore,
    flow_run_id: PathId,
    after: _After = 0,
    before: _Before = None,
    limit: _Limit = 5000,
    include_subflows: _Subflows = False,
) -> Lines:
    """What a flow run and its task runs logged, in columns, in the order of `seq`, which is that of the live stream's log
    lines, too. `more` says whether there is more in the direction that was asked for."""
    answer = await read_encoded(store, lines.lines, flow_run_id, after, before, limit, include_subflows)
    return existing(answer, NO_FLOW_RUN)


HANDLERS = [read_lines]
