"""Handles on task runs that were submitted: `TaskRunFuture`, and waiting for many of them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, Protocol, TypeVar

from tidemill.colour import running_loop, until_called_back
from tidemill.exceptions import UnfinishedRun
from tidemill.logs import root as logger
from tidemill.states import State, ValueElsewhere, error_of, resolve

if TYPE_CHECKING:
    import asyncio

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

# An exception raised in another thread (a time limit, a cancellation) arrives at that thread's next bytecode, so a wait
# there is cut into slices.
_SLICE_SECONDS = 0.2


class Pool(Protocol):
    """What a thread tells the pool that it works for while it waits for another task run."""

    def blocked(self) -> None: ...

    def unblocked(self) -> None: ...


class _Here(threading.local):
    pool: Pool | None = None


here = _Here()
# Guards every future's change from waited-for to settled. Held for some bytecodes only.
_guard = threading.Lock()


class SubmittedRun(Protocol):
    """What a future asks of the run behind it, until that has ended."""

    @property
    def task_run_id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def state_now(self) -> State[Any]: ...

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None: ...


class TaskRunFuture(Generic[R_co]):
    """A handle on one submitted task run. Made by `task.submit` and `task.map`.

    Pass it to another task, alone or inside lists and dicts, and that task starts when this one has ended, with its value.
    In an async flow, `await future` gives the value.
    """

    __slots__ = ("__weakref__", "_callbacks", "_name", "_problem", "_run", "_state", "_task_run_id", "_traceback", "_value")

    def __init__(self, run: SubmittedRun) -> None:
        self._run: SubmittedRun | None = run
        self._callbacks: list[Callable[[TaskRunFuture[R_co]], object]] | None = []
        self._state: State[Any] | None = None
        self._value: Any = None
        self._problem: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._name = self._task_run_id = ""

    @property
    def task_run_id(self) -> str:
        """The id of the task run."""
        run = self._run
        return self._task_run_id if run is None else run.task_run_id

    @property
    def name(self) -> str:
        """The name of the task run."""
        run = self._run
        return self._name if run is None else run.name

    @property
    def state(self) -> State[R_co]:
        """Where the task run stands now."""
        run, state = self._run, self._state
        return state if state is not None else run.state_now  # type: ignore[union-attr]

    def done(self) -> bool:
        """Whether the task run has ended, or will never start because what it needs has failed."""
        return self._callbacks is None

    @property
    def runs_here(self) -> bool:
        """Whether the task run executes on the event loop of this very thread, which therefore cannot block for it."""
        run = self._run
        return run is not None and run.loop is not None and running_loop() is run.loop

    def wait(self, timeout: float | None = None) -> State[R_co] | None:
        """Waits until the task run has ended.

        Args:
            timeout: seconds to wait at most; None: for as long as it takes.

        Returns:
            The final state, or None if the time was up first.
        """
        return self._state if self._wait(timeout) else None

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> R_co:
        """Waits for the task run, and returns its value.

        Args:
            timeout: seconds to wait at most; None: for as long as it takes.
            raise_on_failure: raise the task's exception; if False, give it instead.

        Raises:
            TimeoutError: the time was up first; the task run goes on.
            UnfinishedRun: it never started, because something it needs has failed.
        """
        if not self._wait(timeout):
            raise TimeoutError(f"Task run {self.name!r} has not ended within {timeout} seconds; it goes on.")
        return self._outcome(raise_on_failure)

    def add_done_callback(self, fn: Callable[[TaskRunFuture[R_co]], object]) -> None:
        """Calls `fn(future)` when the task run has ended, in the thread that finds out; at once if it has."""
        with _guard:
            if self._callbacks is not None:
                self._callbacks.append(fn)
                return
        fn(self)

    def __await__(self) -> Generator[Any, None, R_co]:
        if self._callbacks is not None:
            yield from self.until_done().__await__()
        return self._outcome(raise_on_failure=True)

    async def until_done(self) -> None:
        """Returns when the task run has ended; raises nothing if it failed."""
        if self._callbacks is not None:
            await until_called_back(self.add_done_callback)

    def __repr__(self) -> str:
        return f"<TaskRunFuture {self.name!r} {self.state.name}>"

    @property
    def value_elsewhere(self) -> ValueElsewhere | None:
        """What stands for the value, if that is in another process. For the engine."""
        value = self._value
        return value if isinstance(value, ValueElsewhere) else None

    def settle(self, state: State[Any] | None, value: Any, problem: BaseException | None = None) -> None:
        """Says how the task run ended: its state with the value, or a problem that kept it from being recorded. For the
        engine."""
        run = self._run
        if run is not None:
            self._task_run_id, self._name = run.task_run_id, run.name
        if state is None and run is not None:
            state = run.state_now
        self._state, self._value, self._problem = state, value, problem
        error = problem if problem is not None else value
        self._traceback = error.__traceback__ if isinstance(error, BaseException) else None
        with _guard:
            callbacks, self._callbacks = self._callbacks, None
        self._run = None
        for callback in callbacks or ():
            try:
                callback(self)
            except Exception:  # a callback's failure is not the task's
                logger.exception("A callback of the future of task run %r failed", self._name)

    def _outcome(self, raise_on_failure: bool) -> Any:
        state = self._state
        if self._problem is not None:
            raise_it(self._problem, self._traceback)
        assert state is not None
        if state.is_completed():
            return resolve(self._value)
        error = self._value if isinstance(self._value, BaseException) else _error_of_unfinished(self._name, state)
        if raise_on_failure:
            raise_it(error, self._traceback)
        return error

    def _wait(self, timeout: float | None) -> bool:
        if self._callbacks is None:
            return True
        if self.runs_here:
            raise RuntimeError(
                f"Task run {self.name!r} runs on this very event loop, which cannot wait for it and execute it at the same "
                "time. Write `await future` for its value."
            )
        bell = threading.Lock()
        bell.acquire()

        def ring(_: object) -> None:
            bell.release()

        self.add_done_callback(ring)
        if _acquire(bell, timeout):
            return True
        with _guard:
            if self.done():
                return True
            self._callbacks.remove(ring)
        return False


class TaskRunFutureList(list[TaskRunFuture[R]]):
    """The futures of a `map`, in its order. In an async flow, `await futures` gives the list of values."""

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> list[R]:
        """The values of all, waited for.

        Raises:
            TimeoutError: not all have ended within `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        return [future.result(_rest_until(deadline), raise_on_failure) for future in self]

    def wait(self, timeout: float | None = None) -> None:
        """Waits until all have ended, for at most `timeout` seconds."""
        wait(self, timeout)

    def __await__(self) -> Generator[Any, None, list[R]]:
        return self._values().__await__()

    async def _values(self) -> list[R]:
        return [await future for future in self]


class DoneAndNotDone(NamedTuple, Generic[R]):
    """What `wait` gives."""

    done: set[TaskRunFuture[R]]
    not_done: set[TaskRunFuture[R]]


def wait(futures: Iterable[TaskRunFuture[R]], timeout: float | None = None) -> DoneAndNotDone[R]:
    """Waits until all futures are done, for at most `timeout` seconds."""
    listed = list(futures)
    deadline = None if timeout is None else time.monotonic() + timeout
    for future in listed:
        if future.wait(_rest_until(deadline)) is None and deadline is not None and time.monotonic() >= deadline:
            break
    done = {future for future in listed if future.done()}
    return DoneAndNotDone(done, set(listed) - done)


def as_completed(futures: Iterable[TaskRunFuture[R]], timeout: float | None = None) -> Iterator[TaskRunFuture[R]]:
    """Gives futures as they get done.

    Raises:
        TimeoutError: not all are done within `timeout` seconds.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    done: deque[TaskRunFuture[R]] = deque()
    bell = threading.Semaphore(0)

    def note(future: TaskRunFuture[R]) -> None:
        done.append(future)
        bell.release()

    listed = list(futures)
    for future in listed:
        future.add_done_callback(note)
    for given in range(len(listed)):
        if not _acquire(bell, _rest_until(deadline)):
            raise TimeoutError(f"{len(listed) - given} of {len(listed)} task runs have not ended within {timeout} seconds.")
        yield done.popleft()


def _rest_until(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


class _Acquirable(Protocol):
    def acquire(self, blocking: bool = True, timeout: Any = ...) -> bool: ...


def _acquire(bell: _Acquirable, timeout: float | None) -> bool:
    """Waits for a bell; a worker's pool is told, so that it may put another worker in its place."""
    if bell.acquire(blocking=False):
        return True
    pool = here.pool
    if pool is not None:
        pool.blocked()
    try:
        return _acquire_in_slices(bell, timeout)
    finally:
        if pool is not None:
            pool.unblocked()


def _acquire_in_slices(bell: _Acquirable, timeout: float | None) -> bool:
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        rest = _rest_until(deadline)
        if bell.acquire(timeout=_SLICE_SECONDS if rest is None else min(rest, _SLICE_SECONDS)):
            return True
        if rest is not None and rest <= _SLICE_SECONDS:
            return False


def _error_of_unfinished(name: str, state: State[Any]) -> BaseException:
    return error_of(state) if state.is_final() else UnfinishedRun(f"Task run {name!r} has not finished: {state}")


def raise_it(error: BaseException, traceback: TracebackType | None = None) -> NoReturn:
    """Raises an exception that happened elsewhere, without a circle through this frame.

    Args:
        traceback: where it happened; so that it does not grow each time that it is raised.
    """
    try:
        raise error if traceback is None else error.with_traceback(traceback)
    finally:
        del error


__all__ = ["DoneAndNotDone", "TaskRunFuture", "TaskRunFutureList", "as_completed", "wait"]
