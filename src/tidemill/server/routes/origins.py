"""Where runs come from, for pages: the flow runs in which one was called, and the cached result that a task run used."""

from __future__ import annotations

from litestar import get

from tidemill.server.answers import existing
from tidemill.server.parameters import PathId
from tidemill.server.routes.flow_runs import NO_FLOW_RUN
from tidemill.server.routes.task_runs import NO_TASK_RUN
from tidemill.server.services import TheStore
from tidemill.store import caching, reading
from tidemill.store.caching import WhyCached
from tidemill.store.reading import Ancestor

# As the command `task-run why`.
_MOST_EARLIER_RUNS = 200


@get("/ui/flow_runs/{flow_run_id:str}/ancestors")
async def read_ancestors(store: TheStore, flow_run_id: PathId) -> list[Ancestor]:
    """The flow runs in which this one was called, from the outermost to its parent."""
    found = await store.read(reading.ancestors, flow_run_id)
    if not found:
        existing(await store.read(reading.current_state, flow_run_id), NO_FLOW_RUN)
    return found


@get("/ui/task_runs/{task_run_id:str}/why")
async def read_why_cached(store: TheStore, task_run_id: PathId) -> WhyCached:
    """Why a task run used a result of the cache, and whose (`found_in`), or why it was executed; `parts` are what its key was
    made of."""
    return existing(await store.read(caching.why_cached, task_run_id, _MOST_EARLIER_RUNS), NO_TASK_RUN)


HANDLERS = [read_ancestors, read_why_cached]
