"""Task runs."""

from __future__ import annotations

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody

from tidemill import clock
from tidemill.ids import new_id
from tidemill.orchestration import task_run_requests
from tidemill.records import TaskRun, TaskRunEntry
from tidemill.server.answers import existing
from tidemill.server.listing import Criteria, Paginated, TaskRunListing, TaskRunPaging, page_of, paginated, paging_of
from tidemill.server.parameters import PathId
from tidemill.server.requests import SetState, StateCreate, TaskRunCreate, TaskRunUpdate, microseconds, name_or_two_words
from tidemill.server.result_files import remove_files
from tidemill.server.services import TheServices, TheStore
from tidemill.server.shown import A_STATE_WAS_WRITTEN, OrchestrationResult, orchestration_result, shown, shown_all
from tidemill.states import ResultReference, State, StateType
from tidemill.store import reading
from tidemill.texts import storable

NO_TASK_RUN = "There is no such task run; it may have been deleted. POST /api/task_runs/filter lists them."
_encode = msgspec.json.Encoder().encode


@post("/task_runs", responses={200: ResponseSpec(TaskRun, generate_examples=False, description="It is there already.")})
async def create_task_run(store: TheStore, data: JSONBody[TaskRunCreate]) -> Response[TaskRun]:
    """A task run, which the client executes: 201 if it was created, 200 if there is one of its id, or of its keys in its
    flow run."""
    run, created = await store.write(task_run_requests.register_task_run, _new(data), data.labels or {})
    return Response(shown(run), status_code=201 if created else 200)


@get("/task_runs/{task_run_id:str}")
async def read_task_run(store: TheStore, task_run_id: PathId) -> TaskRun:
    """The task run of this id."""
    return shown(existing(await store.read(reading.task_run, task_run_id), NO_TASK_RUN))


@patch("/task_runs/{task_run_id:str}", status_code=204)
async def update_task_run(store: TheStore, task_run_id: PathId, data: JSONBody[TaskRunUpdate]) -> None:
    """Gives a task run another name."""
    await store.write(task_run_requests.rename_task_run, task_run_id, storable(data.name))


@delete("/task_runs/{task_run_id:str}")
async def delete_task_run(store: TheStore, services: TheServices, task_run_id: PathId) -> None:
    """Removes a task run."""
    unused = await store.write(task_run_requests.delete_task_run, task_run_id)
    await remove_files(services.settings.results_storage_path, unused)


@post("/task_runs/{task_run_id:str}/set_state", status_code=200, responses=A_STATE_WAS_WRITTEN)
async def set_task_run_state(store: TheStore, task_run_id: PathId, data: JSONBody[SetState]) -> Response[OrchestrationResult]:
    """Asks for a task run to go into a state: 201 if one was written, 200 if not; 409 while a process of Tidemill's
    executes it."""
    state = data.state.to_state()
    answer = await store.write(task_run_requests.set_task_run_state, task_run_id, state, force=data.force)
    return Response(orchestration_result(answer), status_code=201 if answer.written else 200)


@post("/task_runs/filter", status_code=200)
async def read_task_runs(store: TheStore, services: TheServices, data: JSONBody[TaskRunListing | None] = None) -> list[TaskRun]:
    """A page of the task runs that filters ask for."""
    asked = data or TaskRunListing()
    page = page_of(services, asked.limit, asked.offset)
    return shown_all(await store.read(reading.task_runs, asked.filters(), asked.order, page))


@post("/task_runs/count", status_code=200)
async def count_task_runs(store: TheStore, data: JSONBody[Criteria | None] = None) -> int:
    """How many task runs filters ask for."""
    return await store.read(reading.count_task_runs, (data or Criteria()).filters())


@post("/task_runs/paginate", status_code=200)
async def paginate_task_runs(
    store: TheStore, services: TheServices, data: JSONBody[TaskRunPaging | None] = None
) -> Paginated[TaskRun]:
    """A page of the task runs that filters ask for, by its number, and how many there are."""
    asked = data or TaskRunPaging()
    page, filters = paging_of(services, asked), asked.filters()
    results = shown_all(await store.read(reading.task_runs, filters, asked.order, page))
    return paginated(asked, page, results, await store.read(reading.count_task_runs, filters))


def _new(data: TaskRunCreate) -> TaskRunEntry:
    state: State[object] = (data.state or StateCreate(type=StateType.PENDING)).to_state()
    if data.cache_expiration is not None:
        state.state_details.cache_expiration = clock.to_datetime(microseconds(data.cache_expiration))
    return TaskRunEntry(
        data.id or new_id(),
        data.flow_run_id,
        0,
        name_or_two_words(data.name),
        storable(data.task_key),
        storable(data.dynamic_key),
        _encode(data.tags).decode(),
        _encode(data.empirical_policy.to_policy()).decode(),
        clock.from_datetime(state.timestamp),
        task_run_requests.first_progress(state),
        data.task_version,
        _encode(data.task_inputs).decode(),
        state.state_details,
        cache_key=data.cache_key,
        result=state.data if isinstance(state.data, ResultReference) else None,
    )


HANDLERS = [
    create_task_run,
    read_task_run,
    update_task_run,
    delete_task_run,
    set_task_run_state,
    read_task_runs,
    count_task_runs,
    paginate_task_runs,
]
