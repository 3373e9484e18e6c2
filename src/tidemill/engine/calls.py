"""What calling a flow or a task does: the short way from the user's call into the engine, in the function's own colour."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from tidemill import logs
from tidemill.colour import AsyncIO, BlockingIO, run_blocking, run_on_own_loop, running_loop
from tidemill.engine import isolation
from tidemill.engine.definitions import FlowDefinition, TaskDefinition
from tidemill.engine.dependencies import Inputs, WaitFor, look_through, why_not_ready
from tidemill.engine.flow_run import FlowExecution
from tidemill.engine.generators import drive, drive_async
from tidemill.engine.loading import stop_if_loading
from tidemill.engine.submissions import submissions_here
from tidemill.engine.task_run import TaskExecution
from tidemill.exceptions import TerminationSignal
from tidemill.futures import TaskRunFuture, raise_it
from tidemill.interrupts import unwinding_signals
from tidemill.states import State

BLOCKING = BlockingIO()
ASYNC = AsyncIO()


def call_task(
    task: TaskDefinition, args: tuple[Any, ...], kwargs: dict[str, Any], return_state: bool, wait_for: WaitFor = None
) -> Any:
    """Calls a task: gives its value or raises its exception; with `return_state`, gives its state. For an async task, a
    coroutine that does."""
    stop_if_loading(task)
    args = task.with_receiver(args)
    bound = task.signature.bind(args, kwargs)
    io = ASYNC if task.is_async else BLOCKING
    logs.set_up()
    execution = TaskExecution(io, task, bound, args, kwargs)
    inputs = look_through(args, kwargs, wait_for)
    if inputs is not None:
        execution.waited_for = inputs.waited_for
        return _call_with_futures(execution, inputs, return_state)
    execution.identify(args, kwargs)
    if task.is_generator:
        return _call_generator(execution, args, kwargs, return_state)
    if task.is_async:
        return _finish_async(execution, return_state)
    if execution.is_outermost:
        with unwinding_signals():
            run_blocking(_run_task(execution))
    else:
        run_blocking(_run_task(execution))
    return _outcome(execution, return_state)


async def _run_task(execution: TaskExecution) -> None:
    """Executes a task until it has ended and that is durable; `state`, `value` and `error` then say how."""
    execution.announce()
    if execution.task.isolation is None:
        await execution.work()
    else:
        await isolation.execute(execution)
    await execution.conclude()


def submit_task(
    task: TaskDefinition, args: tuple[Any, ...], kwargs: dict[str, Any], return_state: bool, wait_for: WaitFor = None
) -> Any:
    """Submits a task to the task runner of its flow run: gives a future or, with `return_state`, waits for the state."""
    stop_if_loading(task)
    if return_state and task.is_async and running_loop() is not None:
        raise RuntimeError(
            f"{task.name}.submit(return_state=True) waits for the state, which an event loop cannot. Write `future = "
            f"{task.name}.submit(...)`, then `await future`; its state is `future.state`."
        )
    args = task.with_receiver(args)
    logs.set_up()
    future = submissions_here().submit(task, args, kwargs, look_through(args, kwargs, wait_for))
    return future.wait() if return_state else future


def call_flow(
    flow: FlowDefinition,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    return_state: bool,
    wait_for: WaitFor = None,
) -> Any:
    """Calls a flow; as `call_task`."""
    stop_if_loading(flow)
    args = flow.with_receiver(args)
    given, receiver = flow.signature.bind(args, kwargs)
    logs.set_up()
    inputs, asked = look_through(args, kwargs, wait_for), given
    if flow.is_async:
        return _run_async_flow(flow, given, receiver, return_state, inputs)
    if inputs is not None:
        _raise_first(run_blocking(inputs.arrive(BLOCKING)))
        given, receiver = flow.signature.bind(inputs.args, inputs.kwargs)
    execution = FlowExecution(BLOCKING, flow, given, receiver, asked=asked)
    run_blocking(execution.run())
    return _outcome(execution, return_state)


def resume_flow(flow: FlowDefinition, flow_run_id: str, given: dict[str, Any], receiver: Any = None) -> State[Any]:
    """Begins the next attempt of a flow run, and gives the state that it ends in.

    Args:
        given: the parameters that the run was called with.
        receiver: the instance or class, if the flow is a method.

    Raises:
        ObjectNotFound: there is no such flow run.
        FlowRunIsLive: another process works on it.
        ParameterTypeError: the flow does not take these parameters (any more).
    """
    logs.set_up()
    given = flow.signature.fitted(given)
    if flow.is_async:
        return run_on_own_loop(_resume_async_flow(flow, flow_run_id, given, receiver))
    execution = FlowExecution(BLOCKING, flow, given, receiver, resumes=flow_run_id)
    run_blocking(execution.run())
    return _outcome(execution, return_state=True)


async def _resume_async_flow(flow: FlowDefinition, flow_run_id: str, given: dict[str, Any], receiver: Any) -> State[Any]:
    execution = FlowExecution(ASYNC, flow, given, receiver, _canceller(), resumes=flow_run_id)
    with _terminating():
        await execution.run()
    return _outcome(execution, return_state=True)


def _raise_first(failed: list[TaskRunFuture[Any]]) -> None:
    if failed:
        failed[0].result()


def _call_with_futures(execution: TaskExecution, inputs: Inputs, return_state: bool) -> Any:
    if execution.task.is_async:
        return _call_with_futures_async(execution, inputs, return_state)
    failed = run_blocking(inputs.arrive(BLOCKING))
    if failed:
        run_blocking(_end_not_ready(execution, failed))
        return _outcome(execution, return_state)
    execution.identify(inputs.args, inputs.kwargs)
    if execution.task.is_generator:
        return _call_generator(execution, inputs.args, inputs.kwargs, return_state)
    run_blocking(_run_task(execution))
    return _outcome(execution, return_state)


async def _call_with_futures_async(execution: TaskExecution, inputs: Inputs, return_state: bool) -> Any:
    failed = await inputs.arrive(ASYNC)
    if failed:
        await _end_not_ready(execution, failed)
        return _outcome(execution, return_state)
    execution.identify(inputs.args, inputs.kwargs)
    return await _finish_async(execution, return_state)


async def _end_not_ready(execution: TaskExecution, failed: list[TaskRunFuture[Any]]) -> None:
    execution.announce()
    execution.not_ready(*why_not_ready(failed))
    await execution.conclude()


async def _finish_async(execution: TaskExecution, return_state: bool) -> Any:
    if execution.is_outermost:
        with _terminating(), unwinding_signals(_canceller()):
            await _run_task(execution)
    else:
        await _run_task(execution)
    return _outcome(execution, return_state)


async def _run_async_flow(
    flow: FlowDefinition, given: dict[str, Any], receiver: Any, return_state: bool, inputs: Inputs | None
) -> Any:
    asked = given
    if inputs is not None:
        _raise_first(await inputs.arrive(ASYNC))
        given, receiver = flow.signature.bind(inputs.args, inputs.kwargs)
    execution = FlowExecution(ASYNC, flow, given, receiver, _canceller(), asked=asked)
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
        raise_it(execution.error)
    return execution.value


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
