"""The states that flow runs and task runs went through."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import get
from litestar.params import QueryParameter

from tidemill.server.answers import existing
from tidemill.server.parameters import UUID_PATTERN, PathId
from tidemill.server.services import TheStore
from tidemill.server.shown import shown_state
from tidemill.states import State
from tidemill.store import reading

_NO_STATE = "There is no such state; its run may have been deleted."

RunId = Annotated[str, QueryParameter(pattern=UUID_PATTERN, description="The id of the run.")]


@get("/flow_run_states")
async def read_flow_run_states(store: TheStore, flow_run_id: RunId) -> list[State[Any]]:
    """Every state a flow run went through, first to last."""
    return [shown_state(state) for state in await store.read(reading.flow_run_states, flow_run_id)]


@get("/flow_run_states/{state_id:str}")
async def read_flow_run_state(store: TheStore, state_id: PathId) -> State[Any]:
    """The state of this id that a flow run went through."""
    return shown_state(existing(await store.read(reading.flow_run_state, state_id), _NO_STATE))


@get("/task_run_states")
async def read_task_run_states(store: TheStore, task_run_id: RunId) -> list[State[Any]]:
    """Every state a task run went through, first to last."""
    return [shown_state(state) for state in await store.read(reading.task_run_states, task_run_id)]


@get("/task_run_states/{state_id:str}")
async def read_task_run_state(store: TheStore, state_id: PathId) -> State[Any]:
    """The state of this id that a task run went through, among its first hundred."""
    return shown_state(existing(await store.read(reading.task_run_state, state_id), _NO_STATE))


HANDLERS = [read_flow_run_states, read_flow_run_state, read_task_run_states, read_task_run_state]
