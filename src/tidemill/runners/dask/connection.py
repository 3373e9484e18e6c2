"""The connection to a Dask cluster: task runs are executed through it, and what they leave in workers is brought from there."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, NamedTuple, TypeVar

from dask.utils import import_required
from distributed import Client, KilledWorker

from tidemill.exceptions import DefinitionError, TidemillError
from tidemill.runners.child_errors import ChildDied, RaisedInChild
from tidemill.runners.dask import worker
from tidemill.runners.dask.own_cluster import OwnCluster
from tidemill.runners.shared import Shared

T = TypeVar("T")

_LARGE_BYTES = 1_000_000  # from this size on a package goes to the workers by itself, not through the graph of tasks
_DEATH_SECONDS = 2.0  # how long it may take to know how a process ended


class Options(NamedTuple):
    """Which cluster, and how; see `DaskTaskRunner`."""

    address: str | None = None
    cluster: Any = None
    cluster_class: Any = None
    cluster_kwargs: dict[str, Any] | None = None
    adapt_kwargs: dict[str, Any] | None = None
    client_kwargs: dict[str, Any] | None = None
    n_workers: int | None = None


class Call:
    """A task run on its way to a worker and back."""

    def __init__(self, task_run_id: str, key: str) -> None:
        self.task_run_id = task_run_id
        self.key = key
        self.future: Any = None
        self.stopped = False
        self.has_digest = False  # whether the value that it left has a digest of its own


class Connection:
    """A client of a cluster, and the cluster, if that is the client's own."""

    def __init__(self, options: Options) -> None:
        self.is_open = True
        self._own: OwnCluster | None = None
        self._cluster, self._is_theirs = self._cluster_for(options), options.cluster is not None
        settings = {"set_as_default": False, **(options.client_kwargs or {})}
        try:
            self._client: Any = Client(self._cluster or options.address, **settings)
        except BaseException:
            self._close_cluster()
            raise
        self._loop: Any = self._client.loop.asyncio_loop

    def _cluster_for(self, options: Options) -> Any:
        if options.address is not None:
            return None
        if options.cluster is not None:
            return options.cluster
        if options.cluster_class is None:
            self._own = OwnCluster(options.n_workers or os.cpu_count() or 1)
            return self._own.cluster
        cluster = _imported(options.cluster_class)(**(options.cluster_kwargs or {}))
        if options.adapt_kwargs is not None:
            cluster.adapt(**options.adapt_kwargs)
        return cluster

    @property
    def own_workers(self) -> int | None:
        """How many workers there are, if they are ours."""
        return self._own.n_workers if self._own is not None else None

    def call(self, call: Call, package: bytes, inputs: dict[str, Any]) -> bytes:
        """Brings a package to a worker, and gives its answer.

        Raises:
            ChildDied: the worker has ended meanwhile, or the call was stopped.
            SerializationError: the worker cannot read the package.
            RaisedInChild: Dask could not execute it.
        """
        answer = self._wait(self._called(call, package, inputs))
        if isinstance(answer, bytes):
            return answer
        if call.stopped or isinstance(answer, asyncio.CancelledError):
            raise ChildDied(f"The Dask cluster has given up task run {call.task_run_id}.", stopped=call.stopped) from None
        if isinstance(answer, ChildDied | KilledWorker):
            raise self._death(call, answer) from None
        if isinstance(answer, TidemillError):
            raise answer
        raise RaisedInChild(f"Dask could not execute it: {type(answer).__name__}: {answer}") from answer

    def run(self, function: Callable[[Any], T], future: Any) -> T:
        """Calls a function with a value where that is."""
        return self._wait(self._run(function, future))

    def bring(self, future: Any) -> Any:
        """Brings a value here."""
        return self._wait(self._brought(future))

    def stop(self, calls: Iterable[Call]) -> None:
        """Ends calls: for certain in a cluster of our own, as far as Python allows in another."""
        calls = list(calls)
        for call in calls:
            call.stopped = True
        runs = {call.task_run_id for call in calls}
        self._wait(self._cancel([call.future for call in calls if call.future is not None], runs))
        if self._own is not None:
            self._own.kill(runs)

    def close(self) -> None:
        """Lets go of the cluster, and ends it if it was made for this."""
        self.is_open = False
        self._client.close()
        self._close_cluster()

    def _close_cluster(self) -> None:
        if self._own is not None:
            self._own.close()
        elif self._cluster is not None and not self._is_theirs:
            self._cluster.close()

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the client's event loop, which is on a thread of its own."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _called(self, call: Call, package: bytes, inputs: dict[str, Any]) -> bytes | BaseException:
        try:
            sent: Any = package
            if len(package) >= _LARGE_BYTES:
                sent = await self._client.scatter(package, hash=False)
            if call.stopped:
                return asyncio.CancelledError()
            call.future = future = self._client.submit(worker.execute, sent, inputs, key=call.key, pure=False)
            error = await future.exception()
            if error is not None:
                return error
            if future.type is bytes:
                return await future
            answer, call.has_digest = await self._run(worker.answer_of, future)
            return answer
        except (Exception, asyncio.CancelledError) as error:  # the connection has broken, say
            return error

    async def _run(self, function: Callable[[Any], T], future: Any) -> T:
        return await self._client.submit(function, future, pure=False)

    async def _brought(self, future: Any) -> Any:
        return (await future).value

    async def _cancel(self, futures: list[Any], task_run_ids: set[str]) -> None:
        await self._client.cancel(futures, force=True)
        if self._own is None:
            await self._client.run(worker.interrupt, task_run_ids, wait=False)

    def _death(self, call: Call, error: BaseException) -> ChildDied:
        told = self._own.death_of(call.task_run_id, _DEATH_SECONDS) if self._own is not None else None
        if told is not None:
            text = str(told).replace("The child process", "The Dask worker process")
            return ChildDied(text, exit_code=told.exit_code, signal=told.signal)
        if isinstance(error, KilledWorker):
            return ChildDied(f"The Dask workers that were to execute it have ended, one after the other: {error}")
        return ChildDied("The Dask worker that executed it has ended; its log may say why.")


def shared_connection(options: Options) -> Shared[Connection]:
    """The connection of all flow runs that use copies of one task runner at the same time."""
    return Shared(lambda: _in_thread(lambda: Connection(options)), lambda connection: _in_thread(connection.close))


def _in_thread(function: Callable[[], T]) -> T:
    """Calls a function on a thread of its own, since Dask behaves otherwise where an event loop runs."""
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome.extend((True, function()))
        except BaseException as error:
            outcome.extend((False, error))

    thread = threading.Thread(target=call, name="tidemill-dask", daemon=True)
    thread.start()
    thread.join()
    if not outcome[0]:
        raise outcome[1]
    return outcome[1]


def _imported(kind: Any) -> Any:
    if not isinstance(kind, str):
        return kind
    module, _, name = kind.replace(":", ".").rpartition(".")
    found = getattr(import_required(module, f"cluster_class {kind!r} cannot be imported."), name, None)
    if found is None:
        raise DefinitionError(f"cluster_class {kind!r}: module {module} has no {name}.")
    return found


__all__ = ["Call", "Connection", "Options", "shared_connection"]
