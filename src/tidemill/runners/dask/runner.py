"""The task runner for Dask."""

from __future__ import annotations

import weakref
from contextlib import AbstractContextManager, suppress
from typing import Any

from tidemill.exceptions import DefinitionError, MissingResult
from tidemill.ids import new_id
from tidemill.records import TaskRunEntry
from tidemill.runners.base import Settle, TaskRunner, Work, checked_workers
from tidemill.runners.dask.connection import Call, Connection, Options, shared_connection
from tidemill.runners.dask.values import DaskValue, packing
from tidemill.runners.shared import Shared
from tidemill.runners.threads import ThreadPool

# How many tasks are under way at once, each of which holds a thread that waits: for each worker of ours, since a task's way to
# a worker and back takes about 10 ms however short it is; and at most, also on another cluster, which may grow.
_UNDER_WAY_PER_WORKER = 16
_UNDER_WAY = 256


class DaskTaskRunner(TaskRunner):
    """Executes submitted tasks on a Dask cluster: without arguments one of its own on this machine, for as long as the flow
    runs.

    A large result stays in the worker that made it, and goes from there to the tasks it is passed to; it comes to this
    process when it is asked for. A worker that dies fails its task, which is retried if it has retries; the others go on.

    Args:
        address: the scheduler of an existing cluster, e.g. "tcp://10.0.0.5:8786". Its workers need Tidemill and what your
            tasks import, and must reach the store.
        cluster: an existing cluster object; it is left open.
        cluster_class: a kind of cluster to be started for each flow run, as a class, a function or a dotted name.
        cluster_kwargs: what it is called with.
        adapt_kwargs: what its `adapt` method is called with, such as {"minimum": 1, "maximum": 10}.
        client_kwargs: further arguments of `distributed.Client`.
        n_workers: how many processes the cluster of its own has; default: one for each processor. Each executes one task at
            a time. No `if __name__ == "__main__"` guard is needed.

    Raises:
        DefinitionError: the arguments do not go together.
    """

    shares_the_loop = False

    def __init__(
        self,
        address: str | None = None,
        *,
        cluster: Any = None,
        cluster_class: Any = None,
        cluster_kwargs: dict[str, Any] | None = None,
        adapt_kwargs: dict[str, Any] | None = None,
        client_kwargs: dict[str, Any] | None = None,
        n_workers: int | None = None,
    ) -> None:
        options = Options(address, cluster, cluster_class, cluster_kwargs, adapt_kwargs, client_kwargs, n_workers)
        self._use(_checked(options), shared_connection(options))

    def _use(self, options: Options, shared: Shared[Connection]) -> None:
        self._options = options
        self._shared = shared
        self._session: _Session | None = None

    def stands_in(self, value: Any, inside: bool) -> bool:
        session = self._session
        ours = isinstance(value, DaskValue) and session is not None and value.connection is session.connection
        return ours and (value.has_digest or not inside)

    def start(self, settle: Settle) -> None:
        connection = self._shared.take()
        self._session = _Session(connection)
        workers = connection.own_workers
        under_way = _UNDER_WAY if workers is None else max(2 * workers, min(_UNDER_WAY, workers * _UNDER_WAY_PER_WORKER))
        self._pool = ThreadPool(under_way, self._execute, settle)

    def run(self, work: Work) -> None:
        self._pool.put(work)

    def close(self) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        self._pool.close()
        if not session.killed:
            session.save_values()
        self._shared.give_back()

    def kill(self) -> None:
        session = self._session
        if session is not None:
            session.killed = True
            session.connection.stop(session.calls)

    def fresh(self) -> DaskTaskRunner:
        runner = object.__new__(DaskTaskRunner)
        runner._use(self._options, self._shared)
        return runner

    def _execute(self, work: Work) -> bool:
        """What each thread of the pool does: it sees one task through."""
        assert self._session is not None, "the runner has not been started"
        trip = _Trip(self._session, work)
        return work.execute_elsewhere(trip.call, None, trip)

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process, which has no use for a cluster's object, but for its address."""
        options = self._options
        if options.cluster is not None:
            options = options._replace(cluster=None, address=options.cluster.scheduler_address)
        return _made, (options,)

    def __repr__(self) -> str:
        given = [f"{name}={value!r}" for name, value in self._options._asdict().items() if value is not None]
        return f"DaskTaskRunner({', '.join(given)})"


class _Session:
    """What a runner knows between its start and its end."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.calls: set[Call] = set()
        self.values: weakref.WeakSet[DaskValue] = weakref.WeakSet()
        self.killed = False

    def save_values(self) -> None:
        """Brings here what is kept nowhere else, and would end with the cluster."""
        for value in list(self.values):
            if value.kept is None:
                with suppress(MissingResult):
                    value.fetch()


class _Trip:
    """One task run's way to a worker and back."""

    def __init__(self, session: _Session, work: Work) -> None:
        self._session = session
        self._work = work
        self._inputs: dict[str, Any] = {}
        self._last: Call | None = None

    def packing(self) -> AbstractContextManager[None]:
        self._inputs.clear()
        return packing(self._inputs)

    def call(self, package: bytes) -> bytes:
        session, work = self._session, self._work
        self._last = call = Call(work.task_run_id, f"{work.name}-{new_id()}")
        call.stopped = session.killed
        session.calls.add(call)
        try:
            return session.connection.call(call, package, dict(self._inputs))
        finally:
            session.calls.discard(call)

    def last(self, entry: TaskRunEntry) -> DaskValue:
        assert self._last is not None
        value = DaskValue(self._session.connection, self._last, entry.name, entry.result)
        self._session.values.add(value)
        return value


def _made(options: Options) -> DaskTaskRunner:
    return DaskTaskRunner(**options._asdict())


def _checked(options: Options) -> Options:
    ways = {name: getattr(options, name) for name in ("address", "cluster", "cluster_class", "n_workers")}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) > 1:
        raise DefinitionError(f"A DaskTaskRunner takes one of {', '.join(ways)}, not {' and '.join(given)}.")
    if (options.cluster_kwargs or options.adapt_kwargs) and options.cluster_class is None:
        raise DefinitionError(
            "cluster_kwargs and adapt_kwargs are for a cluster_class, such as cluster_class='distributed.LocalCluster'; the "
            "cluster that a DaskTaskRunner starts by itself takes n_workers only."
        )
    if options.address is not None and not isinstance(options.address, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DefinitionError(f"address is that of a Dask scheduler, such as 'tcp://10.0.0.5:8786', not {options.address!r}.")
    checked_workers(options.n_workers, "n_workers")
    return options
