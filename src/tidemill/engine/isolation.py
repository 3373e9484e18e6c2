"""`isolation="process"`: a task, or the function of a flow, in a child process of its own, which can be killed for certain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tidemill import serializers
from tidemill.client import connect
from tidemill.colour import IO, AsyncIO, BlockingIO, run_blocking, run_here
from tidemill.engine.context import FlowRunContext
from tidemill.engine.definitions import FlowDefinition
from tidemill.engine.failures import traceback_text
from tidemill.engine.final_state import states_for_futures
from tidemill.engine.prints import capture_prints
from tidemill.engine.shipping import (
    Surroundings,
    culprit,
    end_interrupted,
    execute_elsewhere,
    states_to_send,
    surrounded_by,
    surroundings_of,
    wait_for_submitted,
)
from tidemill.engine.task_run import TaskExecution
from tidemill.exceptions import ChildDied, SerializationError
from tidemill.results import keep_error, load
from tidemill.runners.children import Child, shared
from tidemill.states import CANCELLED, CRASHED, ResultReference, State


async def execute(execution: TaskExecution) -> None:
    """Executes a task run until its end is recorded, where its task wants to be executed."""
    if not execution.is_isolated:
        await execution.work()
        return
    io, child = execution.io, _Borrowed()
    try:
        await io.in_thread(lambda: execute_elsewhere(execution, child.call, child.kill))
    except BaseException as error:  # nobody waits any more: a time limit around it, a cancellation, Ctrl-C
        child.kill()
        end_interrupted(execution, error)
        raise


class FlowCall(msgspec.Struct):
    """The call of a flow's function on its way to a child process."""

    surroundings: Surroundings
    flow: FlowDefinition
    args: Any
    kwargs: dict[str, Any]


class FlowAnswer(msgspec.Struct):
    """What came of it: the value, or the exception and its traceback; and the states of the runs made inside."""

    value: Any
    error: ResultReference | None
    traceback: str
    children: list[State[Any]]


def function_in_child(io: IO, flow: FlowDefinition, context: FlowRunContext) -> Callable[..., Any]:
    """The function of a flow, executed in a child process: whatever interrupts the caller kills that.

    For an async flow, a coroutine function.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        child = _Borrowed()
        try:
            return _call(child, flow, context, args, kwargs)
        except BaseException as error:
            _end_what_is_left(child, context, error)
            raise

    async def call_async(*args: Any, **kwargs: Any) -> Any:
        child = _Borrowed()
        try:
            return await io.in_thread(lambda: _call(child, flow, context, args, kwargs))
        except BaseException as error:
            _end_what_is_left(child, context, error)
            raise

    return call_async if flow.is_async else call


def _end_what_is_left(child: _Borrowed, context: FlowRunContext, error: BaseException) -> None:
    """After the function was interrupted, or its process has died: kills that, and ends the runs that it had begun."""
    if isinstance(error, Exception) and not isinstance(error, ChildDied):
        return  # the function itself failed
    child.kill()
    client = connect(BlockingIO())
    type, message = CRASHED, "The process that executed it has ended."
    if context.is_cancelled:
        type, message = CANCELLED, "The run was cancelled."
    run_blocking(client.end_open_task_runs(context.id, type, message))
    run_blocking(client.reclaim_lost_runs())  # subflow runs are held by the child itself


def _call(child: _Borrowed, flow: FlowDefinition, context: FlowRunContext, args: Any, kwargs: dict[str, Any]) -> Any:
    package = FlowCall(surroundings_of(context), flow, args, kwargs)
    try:
        packed = serializers.dump_by_value((_execute_flow_call, package))
    except SerializationError as error:
        what = culprit(context.parameters) or str(error)
        raise SerializationError(f"Flow {flow.name!r} cannot execute in another process: {what}.") from error
    answer: FlowAnswer = serializers.load("pickle", child.call(packed))
    context.children.extend(answer.children)
    if answer.error is not None:
        failure: BaseException = load(answer.error)
        failure.add_note(f"In the child process:\n{answer.traceback}")
        raise failure
    return answer.value


def _execute_flow_call(package: FlowCall) -> bytes:
    """What the child does."""
    serializers.name_classes_of_main()
    flow = package.flow
    with surrounded_by(package.surroundings) as flow_run:
        io = AsyncIO() if flow.is_async else BlockingIO()
        if flow_run is not None and flow_run.log_prints:
            capture_prints()
        value, failure, traceback = None, None, ""
        try:
            value = run_here(io, io.call(flow.function, package.args, package.kwargs))
        except Exception as error:
            failure, traceback = keep_error(error), traceback_text(error)
        finally:
            wait_for_submitted(flow_run)
            connect(BlockingIO()).recorder.flush()  # logs and states of subflows too are durable before the answer is sent
        answer = FlowAnswer(states_for_futures(value), failure, traceback, states_to_send(flow_run))
    try:
        return serializers.dump_by_value(answer)
    except SerializationError:
        what = f"a value of type {type(value).__qualname__} cannot be pickled"
        raise SerializationError(f"What flow {flow.name!r} returned cannot be brought back from its process: {what}.") from None


class _Borrowed:
    """A child process for as long as something executes in it."""

    def __init__(self) -> None:
        self._child: Child | None = None
        self._killed = False

    def call(self, package: bytes) -> bytes:
        child = self._child = shared.take()
        if self._killed:
            child.kill()
        try:
            return child.call(package)
        finally:
            self._child = None
            shared.give_back(child)

    def kill(self) -> None:
        """Ends it, from any thread, now or as soon as it begins."""
        self._killed = True
        child = self._child
        if child is not None:
            child.kill()
