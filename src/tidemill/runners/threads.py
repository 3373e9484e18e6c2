"""Task runs on threads of this process: the default runner.

A worker does not wait until what it recorded is durable. It takes the next task, and whoever comes to it first settles all
that have ended by then with one commit: a worker that has run out of work, or the pool's attendant, a thread that also adds
workers while the present ones are all stuck in long tasks.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue

from tidemill.futures import here
from tidemill.interrupts import Stopped
from tidemill.runners.base import Settle, TaskRunner, Work, checked_workers

DEFAULT_MAX_WORKERS = 64

# While there is something to do, the attendant looks this often. A worker that takes nothing for so long counts as busy.
_TICK_SECONDS = 0.001
_MOST_SETTLED_AT_ONCE = 1024


class ThreadPoolTaskRunner(TaskRunner):
    """Executes submitted tasks on threads.

    Args:
        max_workers: how many tasks run at once at most (default 64). A task that waits for another one does not count.
            Async tasks submitted by an async flow run on its event loop, and do not count either.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        self.max_workers = checked_workers(max_workers)
        self._pool: ThreadPool | None = None

    def start(self, settle: Settle) -> None:
        self._pool = ThreadPool(self.max_workers or DEFAULT_MAX_WORKERS, _execute, settle)

    def run(self, work: Work) -> None:
        assert self._pool is not None, "the runner has not been started"
        self._pool.put(work)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()

    def kill(self) -> None:
        """Nothing can be ended for certain on a thread; what executes there is interrupted as far as Python allows."""

    def fresh(self) -> ThreadPoolTaskRunner:
        return ThreadPoolTaskRunner(self.max_workers)

    def __repr__(self) -> str:
        return f"ThreadPoolTaskRunner(max_workers={self.max_workers})"


def _execute(work: Work) -> bool:
    return work.execute()


class ThreadPool:
    """Workers, made as they are needed, that each take one piece of work after the other.

    Args:
        max_workers: how many work at once. One that waits for other work is replaced for that time.
        execute: does one piece; says whether it is still to be settled.
        settle: makes durable what was recorded, and lets everybody know.
    """

    def __init__(self, max_workers: int, execute: Callable[[Work], bool], settle: Settle) -> None:
        self._limit = max_workers
        self._execute = execute
        self._settle = settle
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._ended: deque[Work] = deque()
        self._settling = threading.Lock()
        self._counting = threading.Lock()
        self._workers = 0
        self._idle = 0
        self._blocked = 0
        self._taken = 0
        self._closed = False
        self._attendant: threading.Thread | None = None
        self._bell = threading.Lock()
        self._bell.acquire()
        self._asleep = False

    def put(self, work: Work) -> None:
        """Takes on a piece of work."""
        self._queue.put(work)
        if self._idle == 0:
            if self._workers == 0:
                self._add_workers(1)
            elif self._workers - self._blocked < self._limit:
                self._ring()

    def close(self) -> None:
        """Lets every worker go that is not in the middle of something."""
        with self._counting:
            self._closed = True
            workers = self._workers
        for _ in range(workers):
            self._queue.put(None)
        self._ring()

    def blocked(self) -> None:
        """A worker of ours begins to wait for other work."""
        with self._counting:
            self._blocked += 1
        self._ring()

    def unblocked(self) -> None:
        """It goes on."""
        with self._counting:
            self._blocked -= 1

    def settle_ended(self) -> None:
        """Settles what has ended, unless somebody else is at it: they take care of ours too."""
        while self._ended and self._settling.acquire(blocking=False):
            try:
                batch: list[Work] = []
                while self._ended and len(batch) < _MOST_SETTLED_AT_ONCE:
                    batch.append(self._ended.popleft())
                self._settle(batch)
            finally:
                self._settling.release()

    def _add_workers(self, count: int) -> None:
        for _ in range(count):
            with self._counting:
                if self._workers - self._blocked >= self._limit or self._closed:
                    return
                self._workers += 1
            threading.Thread(target=self._work, name="tidemill-worker", daemon=True).start()

    def _work(self) -> None:
        here.pool = self
        try:
            while (work := self._next()) is not None:
                self._taken += 1
                if self._ended and self._asleep:
                    self._ring()
                if self._execute(work):
                    self._ended.append(work)
                del work
            self.settle_ended()
        except Stopped:  # meant for the task, which had just ended; the pool ends too
            with self._counting:
                self._workers -= 1

    def _next(self) -> Work | None:
        """The next piece of work; None for a worker that is to go, and that is counted out."""
        if self._workers - self._blocked > self._limit and self._leaves_as_surplus():
            return None
        try:
            work = self._queue.get_nowait()
        except Empty:
            self.settle_ended()
            with self._counting:
                self._idle += 1
            work = None if self._closed else self._queue.get()
            with self._counting:
                self._idle -= 1
        if work is None:
            with self._counting:
                self._workers -= 1
        return work

    def _leaves_as_surplus(self) -> bool:
        """Whether there are too many, since others have come back from waiting."""
        with self._counting:
            if self._workers - self._blocked <= self._limit:
                return False
            self._workers -= 1
            return True

    def _ring(self) -> None:
        if self._attendant is None:
            with self._counting:
                if self._attendant is not None:
                    return
                self._attendant = threading.Thread(target=self._attend, name="tidemill-attendant", daemon=True)
            self._attendant.start()
        elif self._asleep:
            try:
                self._bell.release()
            except RuntimeError:  # somebody has rung already
                pass

    def _attend(self) -> None:
        while True:
            self._asleep = True
            if not self._has_something_to_do():
                if self._closed and self._workers == 0:
                    return
                self._bell.acquire(timeout=1.0 if self._closed else -1)
            self._asleep = False
            taken = self._taken
            time.sleep(_TICK_SECONDS)
            self.settle_ended()
            if self._is_short_of_workers() and self._taken - taken < self._workers:
                self._add_workers(self._workers)

    def _has_something_to_do(self) -> bool:
        return bool(self._ended) or self._is_short_of_workers()

    def _is_short_of_workers(self) -> bool:
        if self._closed or self._idle or self._queue.empty():
            return False
        return self._workers - self._blocked < self._limit
