"""Stopping code from outside: time limits, SIGTERM and Ctrl-C.

On the main thread a time limit is an alarm signal, which ends blocking calls too (`time.sleep`, a socket read, waiting for
a child process). On other threads Python only offers an exception that is raised at the thread's next bytecode, so a call
that blocks ends first. Whoever sets a limit is told in any case: `Limit.passed` stays true.

Code that must not be interrupted in the middle (a commit) runs inside `shielded()`; what arrives meanwhile is raised at
its end.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from heapq import heappop, heappush
from itertools import count
from threading import get_ident
from time import monotonic, sleep
from types import FrameType
from typing import Any

from tidemill.exceptions import TerminationSignal

_RETRY_SECONDS = 0.002
_LONGEST_SHIELD_SECONDS = 1.0


class LimitPassed(BaseException):
    """Raised inside code that ran past its time limit; a BaseException, so that `except Exception` does not swallow it."""

    limit: Limit


class Stopped(BaseException):
    """Raised inside code that is to end because its run is being cancelled; a BaseException, so that `except Exception` does
    not swallow it."""


class Limit:
    """One time limit of one thread."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.deadline = monotonic() + seconds
        self.thread = get_ident()
        self.around: Limit | None = None  # the limit of the same thread that this one is inside of
        self.raised = False
        self._open = True
        self._guard = threading.Lock()

    @property
    def passed(self) -> bool:
        return monotonic() >= self.deadline

    def close(self) -> None:
        """From now on nothing is raised for this limit. What has been raised on another thread may still arrive: here."""
        with self._guard:
            self._open = False

    @property
    def is_due_again(self) -> bool:
        """Whether it was not raised, because its thread was shielded, and is still open."""
        return self._open and not self.raised

    @property
    def is_ending_anyway(self) -> bool:
        """Whether a limit around it has been raised already: its end is also the end of this one."""
        around = self.around
        return around is not None and ((around.raised and around._open) or around.is_ending_anyway)

    def raise_once(self, how: Callable[[Limit], None]) -> bool:
        """Calls `how` unless the limit has been closed; False if the limit is being closed at this moment."""
        if not self._guard.acquire(blocking=False):
            return False
        try:
            if self._open:
                self.raised = True
                how(self)
        finally:
            self._guard.release()
        return True


def call_within(limit: Limit, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Calls a function, interrupted when the limit passes, as far as Python allows on this thread.

    Raises:
        LimitPassed: with the limit that passed: this one, or one around it.
    """
    on_main_thread = threading.current_thread() is threading.main_thread()
    watch = _alarms if on_main_thread else _watchdog
    try:
        try:
            watch.add(limit)
            return fn(*args, **kwargs)
        finally:
            limit.close()
    finally:
        watch.remove(limit)


class _Shield:
    """`with shielded:` keeps interruptions out of a block, on the thread that runs it; they are raised at its end."""

    def __init__(self) -> None:
        self.depth: dict[int, int] = {}
        self._held_back: list[BaseException] = []

    def __enter__(self) -> None:
        thread = get_ident()
        self.depth[thread] = self.depth.get(thread, 0) + 1

    def __exit__(self, *_: object) -> None:
        thread = get_ident()
        if self.depth[thread] > 1:
            self.depth[thread] -= 1
        else:
            del self.depth[thread]
            self.raise_held_back()

    @contextmanager
    def lifted(self) -> Generator[None]:
        """Lets interruptions into a part of the block that can stand them, such as a long wait."""
        thread = get_ident()
        depth = self.depth.pop(thread, 0)
        try:
            self.raise_held_back()
            yield
        finally:
            if depth:
                self.depth[thread] = depth

    def raise_held_back(self) -> None:
        if self._held_back and threading.current_thread() is threading.main_thread():
            raise self._held_back.pop()

    def raise_or_hold_back(self, error: BaseException) -> None:
        """For signal handlers: a second interruption does not wait for the block to end."""
        if get_ident() in self.depth and not self._held_back:
            self._held_back.append(error)
            return
        self._held_back.clear()
        raise error


shielded = _Shield()


class _Alarms:
    """Limits of the main thread, by one interval timer set for the earliest."""

    def __init__(self) -> None:
        self._limits: list[Limit] = []
        self._previous: tuple[Any, tuple[float, float], float] | None = None

    def add(self, limit: Limit) -> None:
        if self._previous is None:
            timer = signal.getitimer(signal.ITIMER_REAL)
            self._previous = (signal.signal(signal.SIGALRM, self._ring), timer, monotonic())
        self._limits.append(limit)
        self._set_timer()

    def remove(self, limit: Limit) -> None:
        self._limits.remove(limit)
        if self._limits or self._previous is None:
            self._set_timer()
            return
        handler, (rest, interval), since = self._previous
        self._previous = None
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if rest:
            signal.setitimer(signal.ITIMER_REAL, max(rest - (monotonic() - since), _RETRY_SECONDS), interval)

    def _set_timer(self) -> None:
        waiting = [limit.deadline for limit in self._limits if not limit.raised]
        rest = max(min(waiting) - monotonic(), _RETRY_SECONDS) if waiting else 0
        signal.setitimer(signal.ITIMER_REAL, rest)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        try:
            for limit in self._limits:  # the outermost first: its end is also the end of those inside it
                if limit.passed and not limit.raised and get_ident() not in shielded.depth:
                    limit.raise_once(_raise_here)
        finally:
            self._set_timer()


class _Watchdog:
    """Limits of other threads, watched by a thread of its own."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._limits: list[tuple[float, int, Limit]] = []
        self._innermost: dict[int, Limit] = {}
        self._order = count()
        self._thread: threading.Thread | None = None

    def add(self, limit: Limit) -> None:
        import ctypes  # noqa: F401  # pyright: ignore[reportUnusedImport]  # see _raise_there

        limit.around = self._innermost.get(limit.thread)
        self._innermost[limit.thread] = limit
        with self._changed:
            heappush(self._limits, (limit.deadline, next(self._order), limit))
            if self._thread is None or not self._thread.is_alive():  # the second: in a forked child
                self._thread = threading.Thread(target=self._watch, name="tidemill-watchdog", daemon=True)
                self._thread.start()
            self._changed.notify()

    def remove(self, limit: Limit) -> None:
        """A closed limit itself is dropped when its time has come."""
        if limit.around is None:
            self._innermost.pop(limit.thread, None)
        else:
            self._innermost[limit.thread] = limit.around

    def _watch(self) -> None:
        with self._changed:
            while True:
                rest = self._limits[0][0] - monotonic() if self._limits else None
                if rest is None or rest > 0:
                    self._changed.wait(rest)
                    continue
                _, _, limit = heappop(self._limits)
                if limit.is_ending_anyway:
                    continue
                if not limit.raise_once(_raise_there) or limit.is_due_again:
                    heappush(self._limits, (monotonic() + _RETRY_SECONDS, next(self._order), limit))


_alarms = _Alarms()
_watchdog = _Watchdog()


def _after_fork() -> None:
    """In a forked child there is one thread, and no timer."""
    global _watchdog
    _watchdog = _Watchdog()
    shielded.depth.clear()


os.register_at_fork(after_in_child=_after_fork)


def _raise_here(limit: Limit) -> None:
    error = LimitPassed(f"time limit of {limit.seconds} seconds")
    error.limit = limit
    raise error


def _raise_there(limit: Limit) -> None:
    """Raises in the limit's thread, at its next bytecode."""
    import ctypes  # loaded by `_Watchdog.add`: importing here would let the thread go on into a shielded block

    kind = type("LimitPassed", (LimitPassed,), {"limit": limit})
    if limit.thread in shielded.depth:
        limit.raised = False
        return
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(limit.thread), ctypes.py_object(kind))


class _Unwinding:
    """SIGTERM and Ctrl-C as exceptions, for as long as somebody asks for it. Handlers the program has set itself stay."""

    def __init__(self) -> None:
        self.terminated = False  # SIGTERM has come while somebody asked for it
        self.interrupted = False  # so has Ctrl-C, and asyncio has made a cancellation of it
        self._cancellations: list[Callable[[], None] | None] = []
        self._replaced: dict[int, tuple[Any, Any]] = {}

    @contextmanager
    def __call__(self, cancel: Callable[[], None] | None = None) -> Generator[None]:
        """Lets signals unwind the block like exceptions, and never in the middle of a commit.

        On other threads than the main one this does nothing, since signals go there.

        Args:
            cancel: for a block inside an asyncio task: how to cancel it. An exception out of a signal handler would hit
                the event loop, not the task.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        if not self._cancellations:
            self.terminated = self.interrupted = False
            self._replace(signal.SIGTERM, signal.SIG_DFL, self._on_terminate)
        self._cancellations.append(cancel)
        if cancel is None:
            self._replace(signal.SIGINT, signal.default_int_handler, self._on_interrupt)
        elif signal.SIGINT not in self._replaced:
            self._listen_to_asyncio()
        try:
            yield
        finally:
            self._cancellations.remove(cancel)
            if not self._cancellations:
                self._restore()

    def _replace(self, number: int, only_if: Any, handler: Callable[[int, FrameType | None], None]) -> None:
        if signal.getsignal(number) is only_if:
            self._replaced[number] = (handler, signal.signal(number, handler))

    def _listen_to_asyncio(self) -> None:
        """asyncio has a handler of its own, which turns Ctrl-C into a cancellation of its main task; this only notes it."""
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler) or handler is signal.default_int_handler:
            return

        def note_and_pass_on(number: int, frame: FrameType | None) -> None:
            self.interrupted = True
            handler(number, frame)

        self._replace(signal.SIGINT, handler, note_and_pass_on)

    def _restore(self) -> None:
        for number in list(self._replaced):
            ours, before = self._replaced.pop(number, (None, None))
            if signal.getsignal(number) == ours:  # else the program has set another meanwhile
                signal.signal(number, before)

    def _on_terminate(self, number: int, frame: FrameType | None) -> None:
        self.terminated = True
        cancellations = [cancel for cancel in self._cancellations if cancel is not None]
        for cancel in cancellations:
            cancel()
        if not cancellations:
            shielded.raise_or_hold_back(TerminationSignal())

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        shielded.raise_or_hold_back(KeyboardInterrupt())


unwinding_signals = _Unwinding()


class Stop:
    """A block of code that can be ended from another thread, as far as Python allows.

    On the main thread that is a signal, SIGURG, which ends blocking calls too, and which is ignored by programs that have no
    use for it themselves; on other threads an exception at the next bytecode; for an asyncio task its cancellation.

    Args:
        cancel: how to cancel the asyncio task that the block belongs to, where there is one.
    """

    def __init__(self, cancel: Callable[[], None] | None = None) -> None:
        self.requested = False
        self._cancel = cancel
        self._thread = 0
        self._open = False
        self._handler: Any = None

    def __enter__(self) -> Stop:
        self._thread = get_ident()
        self._open = True
        if self._cancel is None and threading.current_thread() is threading.main_thread():
            _stops.append(self)
            if len(_stops) == 1 and signal.getsignal(signal.SIGURG) is signal.SIG_DFL:
                signal.signal(signal.SIGURG, _raise_stopped)
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        if self in _stops:
            _stops.remove(self)
            if not _stops and signal.getsignal(signal.SIGURG) is _raise_stopped:
                signal.signal(signal.SIGURG, signal.SIG_DFL)

    def stop(self) -> None:
        """Ends the block with `Stopped` (an asyncio task with its cancellation). From any thread; returns at once, or after a
        moment if the block is in the middle of a commit."""
        self.requested = True
        if self._cancel is not None:
            self._cancel()
        elif self in _stops:
            if signal.getsignal(signal.SIGURG) is _raise_stopped:
                signal.pthread_kill(self._thread, signal.SIGURG)
        else:
            stop_thread(self._thread, lambda: self._open)


def end_by_signal_of(error: BaseException) -> None:
    """Ends this process as the signal would have that became `error`: for what runs at the interpreter's exit, where an
    exception is only printed."""
    number = signal.SIGTERM if isinstance(error, TerminationSignal) else signal.SIGINT
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # none, or closed
            stream.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


_stops: list[Stop] = []


def _raise_stopped(number: int, frame: FrameType | None) -> None:
    if any(stop.requested for stop in _stops):
        shielded.raise_or_hold_back(Stopped())


def stop_thread(thread: int, while_: Callable[[], bool]) -> None:
    """Raises `Stopped` in a thread, at its next bytecode; tries again, for as long as `while_()` holds and at most a second,
    where the thread is in the middle of a commit."""
    import ctypes

    deadline = monotonic() + _LONGEST_SHIELD_SECONDS
    while while_() and monotonic() < deadline:
        if thread not in shielded.depth:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(Stopped))
            return
        sleep(_RETRY_SECONDS)
