"""What is done with flow runs: their states, changes, and removal."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, delete, patch, post
from litestar.params import JSONBody

from tidemill.exceptions import ObjectNotFound
from tidemill.filters import Filters, FlowRunFilter, FlowRunSort, Page
from tidemill.orchestration import handed_over, requests
from tidemill.server.listing import BulkLimit
from tidemill.server.parameters import PathId
from tidemill.server.requests import FlowRunUpdate, Labels, Resume, SetState, StateCreate
from tidemill.server.result_files import remove_files
from tidemill.server.routes.flows import Deleted
from tidemill.server.services import TheServices, TheStore
from tidemill.server.shown import A_STATE_WAS_WRITTEN, OrchestrationDetails, OrchestrationResult, orchestration_result
from tidemill.states import State
from tidemill.store import reading
from tidemill.texts import storable

_encode = msgspec.json.Encoder().encode


class ManyFlowRuns(msgspec.Struct, kw_only=True):
    flow_runs: FlowRunFilter | None = None
    limit: BulkLimit = 50


class SetStates(ManyFlowRuns, kw_only=True):
    state: StateCreate
    force: bool = False


class FlowRunOrchestrationResult(msgspec.Struct, kw_only=True):
    """What became of the state proposed for one of several flow runs."""

    flow_run_id: str
    status: str
    state: State[Any] | None
    details: OrchestrationDetails


class OrchestrationResults(msgspec.Struct):
    results: list[FlowRunOrchestrationResult]


@post("/flow_runs/{flow_run_id:str}/set_state", status_code=200, responses=A_STATE_WAS_WRITTEN)
async def set_flow_run_state(store: TheStore, flow_run_id: PathId, data: JSONBody[SetState]) -> Response[OrchestrationResult]:
    """Asks for a flow run to go into a state: 201 if one was written, 200 if not."""
    answer = await store.write(requests.set_flow_run_state, flow_run_id, data.state.to_state(), force=data.force)
    return Response(orchestration_result(answer), status_code=201 if answer.written else 200)


@post("/flow_runs/{flow_run_id:str}/resume", status_code=200, responses=A_STATE_WAS_WRITTEN)
async def resume_flow_run(
    store: TheStore, flow_run_id: PathId, data: JSONBody[Resume | None] = None
) -> Response[OrchestrationResult]:
    """Lets a paused flow run go on, with what it waits for: 201 if it does, 200 if not."""
    given = None if data is None or data.run_input is None else _encode(data.run_input)
    answer = await store.write(requests.resume_flow_run, flow_run_id, given)
    return Response(orchestration_result(answer), status_code=201 if answer.written else 200)


@patch("/flow_runs/{flow_run_id:str}", status_code=204)
async def update_flow_run(store: TheStore, flow_run_id: PathId, data: JSONBody[FlowRunUpdate]) -> None:
    """Changes what is named of a flow run."""
    await store.write(requests.change_flow_run, flow_run_id, _columns(data))


@patch("/flow_runs/{flow_run_id:str}/labels", status_code=204)
async def update_flow_run_labels(store: TheStore, flow_run_id: PathId, data: JSONBody[Labels]) -> None:
    """Gives a flow run labels beside those that it has."""
    await store.write(requests.add_flow_run_labels, flow_run_id, data)


@delete("/flow_runs/{flow_run_id:str}")
async def delete_flow_run(store: TheStore, services: TheServices, flow_run_id: PathId) -> None:
    """Removes a flow run with its states, task runs, logs and the result files that are the server's."""
    await _delete(store, services, flow_run_id)


@post("/flow_runs/bulk_delete", status_code=200)
async def bulk_delete_flow_runs(store: TheStore, services: TheServices, data: JSONBody[ManyFlowRuns | None] = None) -> Deleted:
    """Removes the flow runs that a filter asks for, the oldest first, at most `limit`."""
    deleted: list[str] = []
    for flow_run_id in await _chosen(store, data or ManyFlowRuns()):
        try:
            await _delete(store, services, flow_run_id)
        except ObjectNotFound:  # somebody else was quicker
            continue
        deleted.append(flow_run_id)
    return Deleted(deleted)


@post("/flow_runs/bulk_set_state", status_code=200)
async def bulk_set_flow_run_state(store: TheStore, data: JSONBody[SetStates]) -> OrchestrationResults:
    """Asks for the flow runs that a filter asks for to go into a state, the oldest first, at most `limit`."""
    results: list[FlowRunOrchestrationResult] = []
    for flow_run_id in await _chosen(store, data):
        try:
            answer = await store.write(requests.set_flow_run_state, flow_run_id, data.state.to_state(), force=data.force)
        except ObjectNotFound:  # somebody has removed it
            continue
        told = orchestration_result(answer)
        results.append(
            FlowRunOrchestrationResult(flow_run_id=flow_run_id, status=told.status, state=told.state, details=told.details)
        )
    return OrchestrationResults(results)


async def _delete(store: TheStore, services: TheServices, flow_run_id: str) -> None:
    unused = await store.write(handed_over.delete, flow_run_id)
    await remove_files(services.settings.results_storage_path, unused)


async def _chosen(store: TheStore, asked: ManyFlowRuns) -> list[str]:
    filters = Filters(flow_runs=asked.flow_runs)
    chosen = await store.read(reading.flow_runs, filters, FlowRunSort.EXPECTED_START_TIME_ASC, Page(asked.limit))
    return [run.id for run in chosen]


def _columns(data: FlowRunUpdate) -> dict[str, Any]:
    """What is to be changed, as the columns have it."""
    columns: dict[str, Any] = {}
    if isinstance(data.name, str):
        columns["name"] = storable(data.name)
    for name in ("flow_version", "infrastructure_pid"):
        if (text := getattr(data, name)) is not msgspec.UNSET:
            columns[name] = text and storable(text)
    for name in ("parameters", "tags"):
        if (value := getattr(data, name)) is not msgspec.UNSET:
            columns[name] = _encode(value).decode()
    if data.job_variables is not msgspec.UNSET:
        columns["job_variables"] = _encode(data.job_variables or {}).decode()
    if data.empirical_policy is not msgspec.UNSET:
        columns["empirical_policy"] = _encode(data.empirical_policy.to_policy()).decode()
    return columns


HANDLERS = [
    set_flow_run_state,
    resume_flow_run,
    update_flow_run,
    update_flow_run_labels,
    delete_flow_run,
    bulk_delete_flow_runs,
    bulk_set_flow_run_state,
]
