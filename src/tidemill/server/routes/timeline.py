"""The timeline of a flow run, and how many task runs flow runs have, for pages that draw them."""

from __future__ import annotations

from typing import Annotated

from litestar import get, post
from litestar.params import JSONBody, QueryParameter

from tidemill import clock
from tidemill.server.answers import existing, read_encoded
from tidemill.server.parameters import PathId
from tidemill.server.routes.flow_runs import NO_FLOW_RUN
from tidemill.server.routes.summaries import FlowRunIds
from tidemill.server.services import TheStore
from tidemill.states import StateType
from tidemill.store import summaries, timelines
from tidemill.store.timelines import MOST_NODES, Timeline

_TaskKey = Annotated[str | None, QueryParameter(description="Only the task runs of this task.")]
_Offset = Annotated[int, QueryParameter(ge=0, le=2**62, description="With `task_key`: from which on.")]
_Limit = Annotated[int, QueryParameter(ge=0, le=MOST_NODES, description="With `task_key`: how many at most.")]


@post("/ui/flow_runs/task_run_counts", status_code=200)
async def count_task_run_states(store: TheStore, data: JSONBody[FlowRunIds]) -> dict[str, dict[StateType, int]]:
    """How many task runs each of these flow runs has in each type of state, without those that stand for subflow runs; types
    in which there is none are left out."""
    return await store.read(summaries.task_run_states_by_flow_run, data.flow_run_ids)


@get("/ui/flow_runs/{flow_run_id:str}/timeline")
async def read_timeline(
    store: TheStore, flow_run_id: PathId, task_key: _TaskKey = None, offset: _Offset = 0, limit: _Limit = MOST_NODES
) -> Timeline:
    """What is drawn of a flow run: its states, its tasks, and up to 10,000 task runs, in columns. Of more task runs the answer
    is `grouped`: of each task it says how many runs were running when, and `task_key` gives the runs of one. What a
    subflow run consists of stands in its own timeline."""
    answer = await read_encoded(store, timelines.timeline, flow_run_id, clock.now(), task_key, offset, limit)
    return existing(answer, NO_FLOW_RUN)


HANDLERS = [count_task_run_states, read_timeline]
