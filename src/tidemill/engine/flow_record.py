"""What is recorded of a flow run besides its tasks: the run itself, its result, and the call that began it."""

from __future__ import annotations

from typing import Any

import msgspec

from tidemill import clock, kept_calls, serializers
from tidemill.client import Client
from tidemill.engine.context import FlowRunContext
from tidemill.engine.definitions import FlowDefinition
from tidemill.engine.failures import error_summary
from tidemill.engine.parameters import LARGEST_RECORD, as_json
from tidemill.exceptions import MissingResult, ParameterTypeError, SerializationError
from tidemill.filters import Filters, FlowRunFilter, IdFilter, Page, TaskRunSort
from tidemill.records import FlowRun, FlowRunPolicy, NewFlowRun
from tidemill.results import NOT_WANTED, keep, keep_error, load
from tidemill.states import Failed, ResultReference, State, StateDetails, Unkept

# Larger arguments are not kept for another process to resume the run with.
_LARGEST_CALL = 16 * 1024 * 1024
# The result of a flow that returned nothing: the states of all its runs, which are recorded themselves.
_ALL_STATES = ResultReference("states", b"all")
_RUNS_A_PAGE = 10_000


def new_flow_run(
    flow: FlowDefinition,
    context: FlowRunContext,
    parent_task_run_id: str | None,
    call: tuple[str, bytes] | None,
    idempotency_key: str | None,
) -> NewFlowRun:
    """A flow run that is to be created."""
    return NewFlowRun(
        id=context.id,
        name=context.name,
        flow_name=flow.name,
        flow_version=flow.version,
        entrypoint=flow.entrypoint,
        parameters=as_json(context.parameters),
        call=call,
        tags=context.tags,
        policy=flow.policy,
        parent_task_run_id=parent_task_run_id,
        parent_flow_run_id=context.parent.id if context.parent is not None else None,
        idempotency_key=idempotency_key,
    )


def flow_run_record(
    flow: FlowDefinition, context: FlowRunContext, parent_task_run_id: str | None, state: State[Any], created_at: int
) -> FlowRun:
    """A flow run as its own process knows it.

    Args:
        created_at: microseconds.
    """
    created = clock.to_datetime(created_at)
    return FlowRun(
        id=context.id,
        name=context.name,
        flow_name=flow.name,
        flow_version=flow.version,
        entrypoint=flow.entrypoint,
        parameters=context.parameters,
        tags=list(context.tags),
        empirical_policy=FlowRunPolicy(**msgspec.structs.asdict(flow.policy)),
        parent_task_run_id=parent_task_run_id,
        parent_flow_run_id=context.parent.id if context.parent is not None else None,
        run_count=context.attempt,
        state_id=state.id,
        state_type=state.type,
        state_name=state.name,
        state=state,
        created=created,
        expected_start_time=created,
        start_time=created,
        end_time=state.timestamp if state.is_final() else None,
    )


def rejected(problem: ParameterTypeError) -> State[Any]:
    """The state of a run that was called with parameters that do not fit."""
    state = Failed(message=f"Validation of flow parameters failed with error: {problem}", data=keep_error(problem))
    state.state_details = StateDetails(error=error_summary(problem, str(problem)))
    return state


def kept_result(value: Any, context: FlowRunContext) -> ResultReference | Unkept:
    """Keeps what a flow has completed with."""
    if value and value is context.children_judged:
        return _ALL_STATES
    names = {"parameters": context.parameters, "flow_run": context}
    kept = keep(value, context.results, lambda: names)
    if isinstance(kept, Unkept) and kept is not NOT_WANTED:
        context.log.warning(f"The result of flow {context.flow_name!r} is not kept: {kept.reason}. The run goes on.")
    return kept


async def value_of_completed(client: Client, flow_run_id: str, state: State[Any]) -> Any:
    """What a flow run has completed with, in whatever process.

    Raises:
        MissingResult: it was not kept, or is gone.
    """
    data = state.data
    if data == _ALL_STATES:
        return await _states_of_all(client, flow_run_id)
    if isinstance(data, Unkept):
        raise MissingResult(
            f"Flow run {flow_run_id} has completed, and its result was not kept: {data.reason}. To execute it again, call it "
            "with another idempotency_key."
        )
    return load(data) if isinstance(data, ResultReference) else data


async def _states_of_all(client: Client, flow_run_id: str) -> list[State[Any]]:
    filters = Filters(flow_runs=FlowRunFilter(id=IdFilter(any_=[flow_run_id])))
    states: list[State[Any]] = []
    while True:
        page = Page(limit=_RUNS_A_PAGE, offset=len(states))
        runs = await client.task_runs(filters, TaskRunSort.ID_DESC, page)
        states += [run.state for run in runs if run.state is not None]
        if len(runs) < _RUNS_A_PAGE:
            return states[::-1]


def call_to_keep(given: dict[str, Any], receiver: Any) -> tuple[str, bytes] | None:
    """The call's arguments as another process needs them to resume the run; None where their recorded JSON says all.

    What cannot be kept is noted with the reason: then the run is resumed by calling the flow again.
    """
    try:
        serializer, data = serializers.dump(given if receiver is None else (given, receiver))
    except SerializationError as error:
        return kept_calls.unkept(str(error))
    if serializer == "json" and len(data) <= LARGEST_RECORD:
        return None
    if len(data) > _LARGEST_CALL:
        return kept_calls.unkept(f"they have {len(data):,} bytes when serialized; the limit is {_LARGEST_CALL:,}")
    return serializer, data
