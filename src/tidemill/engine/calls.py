"""What calling a flow or a task does: the short way from the user's call into the engine, in the function's own colour."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NoReturn

from tidemill import logs
from tidemill.colour import AsyncIO, BlockingIO, run_blocking
from tidemill.engine.definitions import FlowDefinition, TaskDefinition
from tidemill.engine.flow_run import FlowExecution
from tidemill.engine.generators import drive, drive_async
from tidemill.engine.task_run import TaskExecution
from tidemill.exceptions import TerminationSignal
from tidemill.interrupts import unwinding_signals
from tidemill.states import State

BLOCKING = BlockingIO()
ASYNC = AsyncIO()


def call_task(task: TaskDefinition, args: tuple[Any, ...], kwargs: dict[str, Any], return_state: bool) -> Any:
    """Calls a task: gives its value or raises its exception; with `return_state`, gives its state. For an async task, a
    coroutine that does."""
    args = task.with_receiver(args)
    parameters, _ = task.signature.bind(args, kwargs)
    io = ASYNC if task.is_async else BLOCKING
    logs.set_up()
    execution = TaskExecution(io, task, parameters, args, kwargs)
    if task.is_generator:
        return _call_generator(execution, args, kwargs, return_state)
    if task.is_async:
        return _finish_async(execution, return_state)
    if execution.is_outermost:
        with unwinding_signals():
            run_blocking(execution.run())
    else:
        run_blocking(execution.run())
    return _outcome(execution, return_state)


def call_flow(flow: FlowDefinition, args: tuple[Any, ...], kwargs: dict[str, Any], return_state: bool) -> Any:
    """Calls a flow; as `call_task`."""
    given, receiver = flow.signature.bind(flow.with_receiver(args), kwargs)
    logs.set_up()
    if flow.is_async:
        return _run_async_flow(flow, given, receiver, return_state)
    execution = FlowExecution(BLOCKING, flow, given, receiver)
    run_blocking(execution.run())
    return _outcome(execution, return_state)


async def _finish_async(execution: TaskExecution, return_state: bool) -> Any:
    if execution.is_outermost:
        with _terminating(), unwinding_signals(_canceller()):
            await execution.run()
    else:
        await execution.run()
    return _outcome(execution, return_state)


async def _run_async_flow(flow: FlowDefinition, given: dict[str, Any], receiver: Any, return_state: bool) -> Any:
    execution = FlowExecution(ASYNC, flow, given, receiver, _canceller())
    with _terminating():
        await execution.run()
    return _outcome(execution, return_state)


@contextmanager
def _terminating() -> Generator[None]:
    """Where SIGTERM came as a cancellation, goes on as what it was."""
    try:
        yield
    except BaseException as error:
        if unwinding_signals.terminated and type(error).__name__ == "CancelledError":
            raise TerminationSignal from error
        raise


def _canceller() -> Callable[[], None]:
    """How a signal handler cancels the asyncio task that calls this."""
    import asyncio

    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def cancel() -> None:
        if task is not None:
            task.cancel()

    def cancel_from_anywhere() -> None:
        loop.call_soon_threadsafe(cancel)

    return cancel_from_anywhere


def _outcome(execution: TaskExecution | FlowExecution, return_state: bool) -> Any:
    if return_state:
        return execution.state
    if execution.error is not None:
        _raise(execution.error)
    return execution.value


def _raise(error: BaseException) -> NoReturn:
    try:
        raise error
    finally:
        del error  # the traceback points to this frame, and would keep the frame in a circle


def _call_generator(execution: TaskExecution, args: tuple[Any, ...], kwargs: dict[str, Any], return_state: bool) -> Any:
    """A generator task is executed while it is iterated; asked for its state, it is iterated to its end at once."""
    if execution.task.is_async:
        return _exhaust_async(execution, args, kwargs) if return_state else drive_async(execution, args, kwargs)
    if not return_state:
        return drive(execution, args, kwargs)
    try:
        values = list(drive(execution, args, kwargs))
    except Exception:
        if execution.state is None:
            raise
        return execution.state
    return _with_values(execution, values)


async def _exhaust_async(execution: TaskExecution, args: tuple[Any, ...], kwargs: dict[str, Any]) -> State[Any] | None:
    try:
        values = [value async for value in drive_async(execution, args, kwargs)]
    except Exception:
        if execution.state is None:
            raise
        return execution.state
    return _with_values(execution, values)


def _with_values(execution: TaskExecution, values: list[Any]) -> State[Any] | None:
    if execution.state is not None:
        execution.state.data = values
    return execution.state
