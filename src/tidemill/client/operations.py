"""`get_client()`: every operation on what is recorded, typed, for programs: on a server, or on this process's own database.

Both answer alike, since both ask the same questions (`orchestration.questions`); over the network they only travel.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, overload

import msgspec

from tidemill import names
from tidemill.client import Client, connect
from tidemill.client.side_operations import SideOperations, existing
from tidemill.colour import AsyncIO, BlockingIO, run_blocking
from tidemill.exceptions import StoreError
from tidemill.filters import (
    Filters,
    FlowFilter,
    FlowRunFilter,
    FlowRunSort,
    FlowSort,
    LogFilter,
    LogSort,
    Page,
    TaskRunFilter,
    TaskRunSort,
)
from tidemill.ids import new_id
from tidemill.orchestration import Verdict
from tidemill.records import Flow, FlowRun, Log, NewFlowRun, TaskRun
from tidemill.states import Pending, State
from tidemill.version import __version__

P = ParamSpec("P")
T = TypeVar("T")

_BLOCKING = BlockingIO()
_ASYNC = AsyncIO()


class TidemillClient(SideOperations):
    """Operations on what is recorded, for asynchronous code: `async with get_client() as client`.

    Every method may raise a `StoreError`: the database, or the server, cannot do its work. Ids are texts; lists come a page
    at a time, of 200 by default.
    """

    async def __aenter__(self) -> TidemillClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.flush()

    # Who answers

    async def hello(self) -> str:
        """A greeting, when there is somebody to give it."""
        await self._client.answer("count_flows", int, Filters())
        return "👋"

    async def api_healthcheck(self) -> Exception | None:
        """None if all is well, else what is wrong."""
        try:
            await self.hello()
        except StoreError as error:
            return error
        return None

    async def api_version(self) -> str:
        """The version of Tidemill that answers."""
        return await self._client.answering_version() or __version__

    # Flows

    async def read_flows(
        self,
        *,
        flow_filter: FlowFilter | None = None,
        flow_run_filter: FlowRunFilter | None = None,
        task_run_filter: TaskRunFilter | None = None,
        sort: FlowSort = FlowSort.NAME_ASC,
        limit: int | None = 200,
        offset: int = 0,
    ) -> list[Flow]:
        """Flows, by themselves and by the runs that they have."""
        filters = Filters(flows=flow_filter, flow_runs=flow_run_filter, task_runs=task_run_filter)
        return await self._client.answer("flows", list[Flow], filters, sort, Page(limit, offset))

    async def read_flow(self, flow_id: str) -> Flow:
        """Raises ObjectNotFound: there is none of this id."""
        return existing(await self._client.answer("flow", Flow | None, flow_id), f"flow {flow_id}")

    async def read_flow_by_name(self, flow_name: str) -> Flow:
        """Raises ObjectNotFound: there is none of this name."""
        return existing(await self._client.answer("flow_by_name", Flow | None, flow_name), f"flow {flow_name!r}")

    async def create_flow_from_name(self, flow_name: str) -> str:
        """The id of the flow of this name, which is created if there is none."""
        flow, _ = await self._client.answer("ensure_flow", tuple[Flow, bool], flow_name, [], {})
        return flow.id

    async def delete_flow(self, flow_id: str) -> None:
        """Removes a flow with all its runs. Raises ObjectNotFound."""
        await self._client.delete_flow(flow_id)

    # Flow runs

    async def create_flow_run(
        self,
        flow_name: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        name: str | None = None,
        tags: Sequence[str] = (),
        idempotency_key: str | None = None,
        parent_task_run_id: str | None = None,
        state: State[Any] | None = None,
    ) -> FlowRun:
        """Creates a flow run, which nobody works on yet, or finds the flow's run of this key.

        Args:
            parameters: what JSON can say.
            name: by default two words.
            state: its first; by default Pending.
        """
        run = NewFlowRun(
            id=new_id(),
            name=name or names.two_words(),
            flow_name=flow_name,
            parameters=msgspec.json.encode(dict(parameters or {})),
            tags=tuple(tags),
            idempotency_key=idempotency_key,
            parent_task_run_id=parent_task_run_id,
        )
        return await self.read_flow_run(await self._client.answer("record_flow_run", str, run, state or Pending()))

    async def read_flow_runs(
        self,
        *,
        flow_filter: FlowFilter | None = None,
        flow_run_filter: FlowRunFilter | None = None,
        task_run_filter: TaskRunFilter | None = None,
        sort: FlowRunSort = FlowRunSort.ID_DESC,
        limit: int | None = 200,
        offset: int = 0,
    ) -> list[FlowRun]:
        """Flow runs, by themselves, by their flow, and by the task runs that they have; the newest first."""
        filters = Filters(flows=flow_filter, flow_runs=flow_run_filter, task_runs=task_run_filter)
        return await self._client.answer("flow_runs", list[FlowRun], filters, sort, Page(limit, offset))

    async def count_flow_runs(
        self,
        *,
        flow_filter: FlowFilter | None = None,
        flow_run_filter: FlowRunFilter | None = None,
        task_run_filter: TaskRunFilter | None = None,
    ) -> int:
        """How many there are."""
        filters = Filters(flows=flow_filter, flow_runs=flow_run_filter, task_runs=task_run_filter)
        return await self._client.answer("count_flow_runs", int, filters)

    async def read_flow_run(self, flow_run_id: str) -> FlowRun:
        """Raises ObjectNotFound: there is none of this id."""
        return existing(await self._client.answer("flow_run", FlowRun | None, flow_run_id), f"flow run {flow_run_id}")

    async def read_flow_run_states(self, flow_run_id: str) -> list[State[Any]]:
        """Every state that a flow run went through, first to last."""
        return await self._client.answer("flow_run_states", list[State[Any]], flow_run_id)

    async def set_flow_run_state(self, flow_run_id: str, state: State[Any]) -> Verdict:
        """Asks for a state, by the rules: the verdict's status says whether it was accepted. Raises ObjectNotFound."""
        return await self._client.answer("propose_flow_run_state", Verdict, flow_run_id, state)

    async def cancel_flow_run(self, flow_run_id: str, reason: str | None = None) -> Verdict:
        """Cancels a flow run with its subflow runs: whoever works on it is asked to end it. Raises ObjectNotFound."""
        return await self._client.cancel_flow_run(flow_run_id, reason)

    async def delete_flow_run(self, flow_run_id: str) -> None:
        """Removes a flow run with its states, task runs, logs and results. Raises ObjectNotFound."""
        await self._client.delete_flow_run(flow_run_id)

    # Task runs and logs

    async def read_task_runs(
        self,
        *,
        flow_filter: FlowFilter | None = None,
        flow_run_filter: FlowRunFilter | None = None,
        task_run_filter: TaskRunFilter | None = None,
        sort: TaskRunSort = TaskRunSort.ID_DESC,
        limit: int | None = 200,
        offset: int = 0,
    ) -> list[TaskRun]:
        """Task runs, by themselves and by what they belong to; the newest first."""
        filters = Filters(flows=flow_filter, flow_runs=flow_run_filter, task_runs=task_run_filter)
        return await self._client.answer("task_runs", list[TaskRun], filters, sort, Page(limit, offset))

    async def count_task_runs(
        self,
        *,
        flow_filter: FlowFilter | None = None,
        flow_run_filter: FlowRunFilter | None = None,
        task_run_filter: TaskRunFilter | None = None,
    ) -> int:
        """How many there are."""
        filters = Filters(flows=flow_filter, flow_runs=flow_run_filter, task_runs=task_run_filter)
        return await self._client.answer("count_task_runs", int, filters)

    async def read_task_run(self, task_run_id: str) -> TaskRun:
        """Raises ObjectNotFound: there is none of this id."""
        return existing(await self._client.answer("task_run", TaskRun | None, task_run_id), f"task run {task_run_id}")

    async def read_task_run_states(self, task_run_id: str) -> list[State[Any]]:
        """Every state that a task run went through, first to last."""
        return await self._client.answer("task_run_states", list[State[Any]], task_run_id)

    async def set_task_run_state(self, task_run_id: str, state: State[Any]) -> None:
        """Says how a task run ended, in place of what happened; the next attempt of its flow run takes it as it is.

        Raises:
            ObjectNotFound: there is no such task run.
            FlowRunIsLive: a process is executing it.
            IllegalTransition: the state is not final.
        """
        await self._client.set_task_run_state(task_run_id, state)

    async def read_logs(
        self,
        log_filter: LogFilter | None = None,
        *,
        sort: LogSort = LogSort.TIMESTAMP_ASC,
        limit: int | None = 200,
        offset: int = 0,
    ) -> list[Log]:
        """What runs logged."""
        return await self._client.answer("logs", list[Log], log_filter, sort, Page(limit, offset))


class _Plain(Generic[P, T]):
    """A method of the asynchronous client, of the same parameters, that returns when it is done."""

    def __init__(self, method: Callable[Concatenate[TidemillClient, P], Coroutine[Any, Any, T]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, instance: SyncTidemillClient, owner: type) -> Callable[P, T]:
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return run_blocking(self._method(instance.operations, *args, **kwargs))

        return call


class SyncTidemillClient:
    """The same operations for plain code: `with get_client(sync_client=True) as client`."""

    def __init__(self, client: Client) -> None:
        self.operations = TidemillClient(client)

    def __enter__(self) -> SyncTidemillClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        run_blocking(self.operations.__aexit__(kind, error, traceback))

    hello = _Plain(TidemillClient.hello)
    api_healthcheck = _Plain(TidemillClient.api_healthcheck)
    api_version = _Plain(TidemillClient.api_version)
    read_flows = _Plain(TidemillClient.read_flows)
    read_flow = _Plain(TidemillClient.read_flow)
    read_flow_by_name = _Plain(TidemillClient.read_flow_by_name)
    create_flow_from_name = _Plain(TidemillClient.create_flow_from_name)
    delete_flow = _Plain(TidemillClient.delete_flow)
    create_flow_run = _Plain(TidemillClient.create_flow_run)
    read_flow_runs = _Plain(TidemillClient.read_flow_runs)
    count_flow_runs = _Plain(TidemillClient.count_flow_runs)
    read_flow_run = _Plain(TidemillClient.read_flow_run)
    read_flow_run_states = _Plain(TidemillClient.read_flow_run_states)
    set_flow_run_state = _Plain(TidemillClient.set_flow_run_state)
    cancel_flow_run = _Plain(TidemillClient.cancel_flow_run)
    delete_flow_run = _Plain(TidemillClient.delete_flow_run)
    read_task_runs = _Plain(TidemillClient.read_task_runs)
    count_task_runs = _Plain(TidemillClient.count_task_runs)
    read_task_run = _Plain(TidemillClient.read_task_run)
    read_task_run_states = _Plain(TidemillClient.read_task_run_states)
    set_task_run_state = _Plain(TidemillClient.set_task_run_state)
    read_logs = _Plain(TidemillClient.read_logs)
    create_variable = _Plain(TidemillClient.create_variable)
    read_variable_by_name = _Plain(TidemillClient.read_variable_by_name)
    read_variables = _Plain(TidemillClient.read_variables)
    update_variable = _Plain(TidemillClient.update_variable)
    delete_variable_by_name = _Plain(TidemillClient.delete_variable_by_name)
    create_artifact = _Plain(TidemillClient.create_artifact)
    read_artifact = _Plain(TidemillClient.read_artifact)
    read_latest_artifact = _Plain(TidemillClient.read_latest_artifact)
    read_artifacts = _Plain(TidemillClient.read_artifacts)
    update_artifact = _Plain(TidemillClient.update_artifact)
    delete_artifact = _Plain(TidemillClient.delete_artifact)
    create_global_concurrency_limit = _Plain(TidemillClient.create_global_concurrency_limit)
    read_global_concurrency_limit_by_name = _Plain(TidemillClient.read_global_concurrency_limit_by_name)
    read_global_concurrency_limits = _Plain(TidemillClient.read_global_concurrency_limits)
    update_global_concurrency_limit = _Plain(TidemillClient.update_global_concurrency_limit)
    delete_global_concurrency_limit_by_name = _Plain(TidemillClient.delete_global_concurrency_limit_by_name)
    increment_concurrency_slots = _Plain(TidemillClient.increment_concurrency_slots)
    release_concurrency_slots = _Plain(TidemillClient.release_concurrency_slots)
    release_concurrency_slots_with_lease = _Plain(TidemillClient.release_concurrency_slots_with_lease)
    create_concurrency_limit = _Plain(TidemillClient.create_concurrency_limit)
    read_concurrency_limit_by_tag = _Plain(TidemillClient.read_concurrency_limit_by_tag)
    read_concurrency_limits = _Plain(TidemillClient.read_concurrency_limits)
    delete_concurrency_limit_by_tag = _Plain(TidemillClient.delete_concurrency_limit_by_tag)


@overload
def get_client(*, sync_client: Literal[True]) -> SyncTidemillClient: ...


@overload
def get_client(*, sync_client: Literal[False] = False) -> TidemillClient: ...


def get_client(*, sync_client: bool = False) -> TidemillClient | SyncTidemillClient:
    """A client for the current settings: of the server at TIDEMILL_API_URL, else of this process's own database.

    Args:
        sync_client: its methods are plain functions, not coroutines.

    Raises:
        StoreError: the server cannot be reached and never was, or refuses this process.
    """
    return SyncTidemillClient(connect(_BLOCKING)) if sync_client else TidemillClient(connect(_ASYNC))
