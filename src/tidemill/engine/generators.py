"""Task functions that are generators: the run lasts as long as the iteration.

Such a run is not retried, since what it has yielded cannot be taken back, and its value is not kept.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any

from tidemill.colour import run_blocking

if TYPE_CHECKING:
    from tidemill.engine.task_run import TaskExecution


def drive(execution: TaskExecution, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
    """Iterates over the task's generator, each step inside the run; passes on what is sent and thrown."""
    execution.announce()
    run_blocking(execution.start())
    try:
        with execution.here():
            inner = execution.task.function(*args, **kwargs)
        step: Callable[[], Any] = inner.__next__
        while True:
            try:
                with execution.here():
                    item = step()
            except StopIteration as stop:
                value = stop.value
                break
            try:
                sent = yield item
            except GeneratorExit:
                inner.close()
                value = None
                break
            except BaseException as thrown:
                step = _call_with(inner.throw, thrown)
            else:
                step = _call_with(inner.send, sent)
    except Exception as error:
        execution.end_failed(error)
        run_blocking(execution.conclude())
        raise
    except BaseException as error:
        execution.crash(error)
        raise
    execution.complete_unkept()
    run_blocking(execution.conclude())
    return value


async def drive_async(execution: TaskExecution, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncGenerator[Any, Any]:
    """The same for an async generator."""
    execution.announce()
    await execution.start()
    try:
        with execution.here():
            inner = execution.task.function(*args, **kwargs)
        step: Callable[[], Any] = inner.__anext__
        while True:
            try:
                with execution.here():
                    item = await step()
            except StopAsyncIteration:
                break
            try:
                sent = yield item
            except GeneratorExit:
                await inner.aclose()
                break
            except BaseException as thrown:
                step = _call_with(inner.athrow, thrown)
            else:
                step = _call_with(inner.asend, sent)
    except Exception as error:
        execution.end_failed(error)
        await execution.conclude()
        raise
    except BaseException as error:
        execution.crash(error)
        raise
    execution.complete_unkept()
    await execution.conclude()


def _call_with(method: Callable[[Any], Any], argument: Any) -> Callable[[], Any]:
    return lambda: method(argument)
