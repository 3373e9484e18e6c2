"""One engine, two colours: coroutines that really wait, and coroutines that never do.

The engine and the client are written once, as `async def`, and do everything that takes time through an `IO`. Under
`AsyncIO` that suspends, as in any coroutine. Under `BlockingIO` the same methods block inside, the coroutine never
suspends, and `run_blocking` finishes it with a single `send(None)`: no event loop, plain tracebacks, any thread. So a
plain function's call also works inside a running loop, where a nested loop could not be started.

In coloured code one may await only `io.<method>()` and other coloured coroutines.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tidemill.interrupts import Limit, LimitPassed, call_within

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


class Section(Protocol):
    """Work that needs a lock held by someone else for a short time: `enter(wait=False)` says whether it was free."""

    def enter(self, wait: bool) -> bool: ...

    def leave(self) -> None: ...


class Committer(Protocol):
    """What `IO.commit` needs of a recorder."""

    @property
    def committed(self) -> int: ...

    def commit(self, ticket: int) -> None:
        """Returns when everything up to `ticket` is durable."""
        ...

    def try_flush(self) -> bool:
        """Makes everything durable that has been recorded so far; False, at once, if someone else is in the way."""
        ...


class Awaited(Protocol):
    """What `IO.until` waits for: a future."""

    def wait(self, timeout: float | None = None) -> object: ...

    async def until_done(self) -> None: ...


class IO(Protocol):
    """Everything coloured code may wait for."""

    async def call(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Calls the user's function; awaits what it returns where the colour is async."""
        ...

    async def call_within(self, seconds: float, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The same, interrupted after `seconds`. Raises TimeLimitReached, also when the call could not be interrupted
        and ended too late."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    async def within(self, section: Section, work: Callable[[], T]) -> T:
        """Runs short, blocking `work` inside `section`, without stalling an event loop while someone else is in it."""
        ...

    async def commit(self, recorder: Committer, ticket: int) -> None:
        """Returns when everything recorded up to `ticket` is durable."""
        ...

    async def until(self, awaited: Awaited, seconds: float | None = None) -> None:
        """Returns when `awaited` is done, or after so many seconds."""
        ...

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Runs blocking `work`, without stalling an event loop."""
        ...


class TimeLimitReached(Exception):
    """A call took longer than it may; `where` is the traceback of the place where it was interrupted."""

    def __init__(self, where: TracebackType | None = None) -> None:
        self.where = where


class StoppedIteration(Exception):
    """Carries a StopIteration out of a coroutine, where it would have a meaning of its own."""

    def __init__(self, error: StopIteration) -> None:
        self.error = error


class BlockingIO:
    """The plain colour: every method returns without ever suspending."""

    async def call(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        try:
            return fn(*args, **kwargs)
        except StopIteration as error:
            raise StoppedIteration(error) from error

    async def call_within(self, seconds: float, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        mine = Limit(seconds)
        try:
            value = call_within(mine, fn, args, kwargs)
        except StopIteration as error:
            raise StoppedIteration(error) from error
        except LimitPassed as passing:
            if passing.limit is not mine:
                raise
            raise TimeLimitReached(passing.__traceback__) from None
        if mine.passed:
            raise TimeLimitReached
        return value

    async def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))

    async def within(self, section: Section, work: Callable[[], T]) -> T:
        section.enter(wait=True)
        try:
            return work()
        finally:
            section.leave()

    async def commit(self, recorder: Committer, ticket: int) -> None:
        recorder.commit(ticket)

    async def until(self, awaited: Awaited, seconds: float | None = None) -> None:
        awaited.wait(seconds)

    async def in_thread(self, work: Callable[[], T]) -> T:
        return work()


class AsyncIO:
    """The async colour."""

    async def call(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        value = fn(*args, **kwargs)
        return await value if hasattr(value, "__await__") else value

    async def call_within(self, seconds: float, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        import asyncio

        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                value = await self.call(fn, args, kwargs)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise TimeLimitReached(error.__cause__.__traceback__ if error.__cause__ else None) from None
        deadline = limit.when()
        if deadline is not None and asyncio.get_running_loop().time() >= deadline:
            raise TimeLimitReached
        return value

    async def sleep(self, seconds: float) -> None:
        import asyncio

        await asyncio.sleep(max(0.0, seconds))

    async def within(self, section: Section, work: Callable[[], T]) -> T:
        if section.enter(wait=False):
            try:
                return work()
            finally:
                section.leave()
        import asyncio

        def wait_and_work() -> T:
            section.enter(wait=True)
            try:
                return work()
            finally:
                section.leave()

        return await asyncio.shield(asyncio.to_thread(wait_and_work))

    async def commit(self, recorder: Committer, ticket: int) -> None:
        """Waits for the commit that the loop makes for all who finish in this turn of it: a thousand tasks that end
        together share one transaction."""
        if recorder.committed >= ticket:
            return
        import asyncio

        await _next_shared_commit(asyncio.get_running_loop(), recorder)
        if recorder.committed < ticket:
            await asyncio.to_thread(recorder.commit, ticket)

    async def until(self, awaited: Awaited, seconds: float | None = None) -> None:
        import asyncio

        try:
            async with asyncio.timeout(seconds):
                await awaited.until_done()
        except TimeoutError:
            pass

    async def in_thread(self, work: Callable[[], T]) -> T:
        import asyncio

        return await asyncio.to_thread(work)


# Who waits for the next commit, by loop and recorder. Each has a future of its own, so that cancelling one wakes no other.
_waiting: dict[tuple[int, int], list[asyncio.Future[None]]] = {}


def _next_shared_commit(loop: asyncio.AbstractEventLoop, recorder: Committer) -> asyncio.Future[None]:
    future = loop.create_future()
    key = (id(loop), id(recorder))
    waiting = _waiting.setdefault(key, [])
    if not waiting or waiting[0].get_loop() is not loop:  # the second: a closed loop whose id was used again
        waiting[:] = []
        loop.call_soon(_commit_for_all, key, recorder)
    waiting.append(future)
    return future


def _commit_for_all(key: tuple[int, int], recorder: Committer) -> None:
    waiting = _waiting.pop(key, [])
    error: Exception | None = None
    try:
        recorder.try_flush()
    except Exception as reason:
        error = reason
    for future in waiting:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)


def run_blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine of the plain colour to its end.

    Raises:
        RuntimeError: the coroutine suspended, so some code in it awaited something that is not of the plain colour.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("Coloured code awaited something that really suspends; under BlockingIO it may await io.* only.")


async def until_called_back(subscribe: Callable[[Callable[[object], None]], None]) -> None:
    """Returns when the function that `subscribe` is given is called, from whatever thread."""
    import asyncio

    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def call_back(_: object) -> None:
        if running_loop() is loop:
            wake()
            return
        try:
            loop.call_soon_threadsafe(wake)
        except RuntimeError:  # the loop has been closed: nobody waits any more
            pass

    subscribe(call_back)
    await waiter


def run_on_own_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine of the async colour to its end, on an event loop made for it, in a thread that has none."""
    import asyncio

    return asyncio.run(coroutine)


def run_here(io: IO, coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end in this thread, in its colour."""
    return run_blocking(coroutine) if isinstance(io, BlockingIO) else run_on_own_loop(coroutine)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread, if there is one."""
    loaded = sys.modules.get("asyncio")  # a plain program does not load it for this
    return loaded._get_running_loop() if loaded is not None else None
