"""The store for asynchronous code: queries and operations run in threads of this module, never in the event loop's."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from tidemill.exceptions import StoreError
from tidemill.store import Database, Store, retried
from tidemill.store.reading import Fetch
from tidemill.store.writing import Execute

P = ParamSpec("P")
T = TypeVar("T")

_READERS = 4
_POSTGRES_WRITERS = 8
# More would make those wait who came first.
_MOST_A_COMMIT = 64


class StoreAccess:
    """Asks and changes a store.

    Args:
        open_store: opens it; in SQLite each thread gets a connection of its own, so that readers wait for nobody.
    """

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self.store = open_store()
        self._open_store = open_store
        self._is_sqlite = self.store.database.kind == "sqlite"
        self._own = threading.local()
        # Told the kind (`read` or `write`) and the seconds that each took, waiting included.
        self.observe: Callable[[str, float], None] = _nobody
        self._opened: list[Store] = [self.store]
        self._readers = ThreadPoolExecutor(_READERS, "tidemill-reader")
        self._writers = None if self._is_sqlite else ThreadPoolExecutor(_POSTGRES_WRITERS, "tidemill-writer")
        self._combined = CombiningWriter(self.store.database) if self._is_sqlite else None

    async def read(self, query: Callable[Concatenate[Fetch, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The answer of `query(fetch, ...)`, a function as in `store.reading`."""
        began = time.perf_counter()
        work = lambda: query(self._reading_store().database.fetch, *args, **kwargs)  # noqa: E731
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, work)
        finally:
            self.observe("read", time.perf_counter() - began)

    async def write(self, operation: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The answer of `operation(store, ...)`, a function as in `orchestration`, once what it wrote is committed."""
        began = time.perf_counter()
        work = lambda: operation(self.store, *args, **kwargs)  # noqa: E731
        try:
            if self._combined is not None:
                return await self._combined.submit(work)
            return await asyncio.get_running_loop().run_in_executor(self._writers, work)
        finally:
            self.observe("write", time.perf_counter() - began)

    async def transact(self, change: Callable[Concatenate[Execute, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The answer of `change(execute, ...)`, in a transaction of its own, once that is committed."""

        @retried
        def operation(store: Store) -> T:
            with store.transaction() as execute:
                return change(execute, *args, **kwargs)

        return await self.write(operation)

    def open_another(self) -> Store:
        """The store for who reads all the time in a thread of its own; closed with all others."""
        if not self._is_sqlite:
            return self.store
        self._opened.append(self._open_store())
        return self._opened[-1]

    def close(self) -> None:
        """Waits for what is under way, then closes every connection."""
        if self._combined is not None:
            self._combined.close()
        for pool in (self._readers, self._writers):
            if pool is not None:
                pool.shutdown()
        for store in self._opened:
            store.database.close()

    def _reading_store(self) -> Store:
        if not self._is_sqlite:
            return self.store
        mine = getattr(self._own, "store", None)
        if mine is None:
            mine = self._own.store = self._open_store()
            self._opened.append(mine)
        return mine


def _nobody(kind: str, seconds: float) -> None:
    pass


class _Pending(NamedTuple):
    work: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


_Outcome = tuple[_Pending, Any, BaseException | None]


class CombiningWriter:
    """One thread that writes for everybody: what was asked for while it committed shares the next transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Pending] = deque()
        self._bell = threading.Semaphore(0)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="tidemill-writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Callable[[], T]) -> T:
        """The answer of `work`, once what it wrote is committed."""
        if self._closed:
            raise StoreError("The server is stopping; ask again when it has started.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append(_Pending(work, loop, future))
        self._bell.release()
        return await future

    def close(self) -> None:
        """Finishes what waits, and ends the thread."""
        self._closed = True
        self._bell.release()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._bell.acquire()
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_A_COMMIT))]
            for _ in batch[1:]:
                self._bell.acquire(blocking=False)
            if batch:
                _tell(self._write(batch))
            elif self._closed:
                return

    def _write(self, batch: list[_Pending]) -> list[_Outcome]:
        if len(batch) == 1:
            return [_outcome(batch[0])]
        try:
            with self._database.group():
                return [_outcome(pending) for pending in batch]
        except Exception as error:  # nothing of it was committed
            return [(pending, None, error) for pending in batch]


def _outcome(pending: _Pending) -> _Outcome:
    try:
        return pending, pending.work(), None
    except Exception as error:
        return pending, None, error


def _tell(outcomes: list[_Outcome]) -> None:
    loops = {pending.loop for pending, _, _ in outcomes}
    for loop in loops:
        mine = [outcome for outcome in outcomes if outcome[0].loop is loop]
        try:
            loop.call_soon_threadsafe(_resolve, mine)
        except RuntimeError:  # the loop has been closed: nobody waits any more
            pass


def _resolve(outcomes: list[_Outcome]) -> None:
    for pending, answer, error in outcomes:
        if pending.future.done():  # whoever asked has gone
            continue
        if error is None:
            pending.future.set_result(answer)
        else:
            pending.future.set_exception(error)
