"""The client that answers in this process, from the embedded store, and what the runs of a process share for it: the
store, the recorder, the lease, and the pulse that keeps both going."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

from tidemill import clock, orchestration, settings
from tidemill.client.pulse import Pulse
from tidemill.client.recorder import Recorder
from tidemill.colour import IO
from tidemill.exceptions import FencedRun, StoreError
from tidemill.filters import EVERYTHING, FIRST_PAGE, Filters, FlowRunSort, FlowSort, LogFilter, LogSort, Page, TaskRunSort
from tidemill.ids import new_id
from tidemill.orchestration import Started, Verdict
from tidemill.records import Flow, FlowRun, Lease, Log, NewFlowRun, TaskRun
from tidemill.settings import Settings
from tidemill.states import State
from tidemill.store import Store, open_store, reading

T = TypeVar("T")

# A lease is renewed this often within its length: two renewals may fail before it ends.
_RENEWALS_PER_LEASE = 3


_lock = threading.Lock()  # for making a process's one session and one lease


class Session:
    """The process's place at one store."""

    def __init__(self, settings: Settings) -> None:
        self.store: Store = open_store(settings.database_path, durability=settings.durability)
        self.recorder = Recorder(self.store.database, self.store.record, relaxed=settings.durability == "relaxed")
        self.closed = False
        self._lease: Lease | None = None
        self._lease_seconds = settings.lease_seconds
        self._flush_interval = settings.flush_interval
        self._start_pulse()

    def lease(self) -> Lease:
        """The claim under which this process works on flow runs, from now on kept alive."""
        with _lock:
            if self._lease is None:
                now = clock.now()
                self._lease = Lease(
                    id=new_id(),
                    pid=os.getpid(),
                    boot_id=_boot_id(),
                    hostname=os.uname().nodename,
                    acquired=now,
                    deadline=now + int(self._lease_seconds * 1_000_000),
                )
                self.recorder.leases = (*self.recorder.leases, self._lease.id)
                self._pulse.start_renewing()
            return self._lease

    def close(self) -> None:
        """Writes what waits, gives the lease back and closes the store."""
        self.closed = True
        self._pulse.stop()
        try:
            if self.recorder.waiting:
                self.recorder.flush()
            if self._lease is not None:
                with suppress(StoreError):  # who cannot write has told so; the lease then ends by itself
                    orchestration.release_lease(self.store, self._lease)
        finally:
            self.store.database.close()

    def after_fork(self) -> None:
        """In a forked child: its parent writes what waits; the child records for the parent's runs under the parent's
        lease, and takes one of its own for runs that it starts itself."""
        self.recorder.forget()
        self._lease = None
        self._start_pulse()

    def _start_pulse(self) -> None:
        self._pulse = Pulse(
            self.recorder,
            self._renew_lease,
            interval=self._flush_interval,
            renew_seconds=self._lease_seconds / _RENEWALS_PER_LEASE,
        )

    def _renew_lease(self) -> None:
        if self._lease is not None:
            orchestration.renew_lease(self.store, self._lease, self._lease_seconds)


_sessions: dict[tuple[str, str], Session] = {}


def session_for(settings: Settings) -> Session:
    """The session of this process at the store that the settings name."""
    key = (settings.database_path, settings.durability)
    with _lock:
        session = _sessions.get(key)
        if session is None:
            session = _sessions[key] = Session(settings)
        return session


def close_sessions() -> None:
    """Closes every session of this process; the next run opens a new one."""
    for key, session in list(_sessions.items()):
        session.close()
        del _sessions[key]  # not before: what a signal handler records meanwhile must not wait for a lock of our own


@atexit.register
def _close_at_exit() -> None:
    try:
        close_sessions()
    except StoreError as error:
        print(f"tidemill: the last records of this process could not be written. {error}", file=sys.stderr)


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    for session in _sessions.values():
        session.after_fork()


os.register_at_fork(after_in_child=_after_fork)


@cache
def _boot_id() -> str:
    """Tells this start of the machine from others, so that process ids are not mistaken."""
    try:
        # As bytes: opening as text may import a codec, and a child forked meanwhile would wait for that import for ever.
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read().strip().decode()
    except OSError:
        return ""


class LocalClient:
    """Verbs on flows and runs, in the colour of `io`. Any of them may raise a StoreError."""

    def __init__(self, io: IO, session: Session) -> None:
        self.io = io
        self.recorder = session.recorder
        self.database = session.store.database
        self._session = session
        self._store = session.store

    @property
    def is_open(self) -> bool:
        """Whether the session behind it has not been closed."""
        return not self._session.closed

    async def create_flow_run(self, run: NewFlowRun, states: Sequence[State[Any]]) -> Started:
        """Creates a flow run, held by this process, and takes it through `states`."""
        lease = self._session.lease()
        return await self._in_queue(lambda: orchestration.create_flow_run(self._store, run, states, lease))

    async def propose_flow_run_state(self, flow_run_id: str, state: State[Any], attempt: int) -> Verdict:
        """Asks for a state for a run that this process works on, once all it recorded before is committed.

        Raises:
            FencedRun: another attempt has taken over.
        """
        lease_id = self._session.lease().id

        def write() -> Verdict:
            self.recorder.flush()
            return orchestration.propose_flow_run_state(self._store, flow_run_id, state, lease_id=lease_id, attempt=attempt)

        return await self._in_queue(write)

    async def commit(self, ticket: int) -> None:
        """Returns when everything recorded up to `ticket` is durable (at once when durability is `relaxed`)."""
        if not self.recorder.relaxed:
            await self.io.commit(self.recorder, ticket)

    async def flush(self) -> None:
        """Returns when everything recorded so far is durable."""
        await self._in_queue(self.recorder.flush)

    def raise_if_fenced(self, flow_run_id: str | None, run: str) -> None:
        """Raises FencedRun when the store has refused what this process recorded for a flow run."""
        reason = self.recorder.refused.get(flow_run_id) if flow_run_id else None
        if reason is not None:
            raise FencedRun(
                f"What this process did for {run} was not recorded: {reason}. Nothing of the other attempt was changed; "
                "see `tidemill flow-run inspect`."
            )

    async def flows(
        self, filters: Filters = EVERYTHING, sort: FlowSort = FlowSort.NAME_ASC, page: Page = FIRST_PAGE
    ) -> list[Flow]:
        return reading.flows(self.database.fetch, filters, sort, page)

    async def count_flows(self, filters: Filters = EVERYTHING) -> int:
        return reading.count_flows(self.database.fetch, filters)

    async def flow_run(self, flow_run_id: str) -> FlowRun | None:
        return reading.flow_run(self.database.fetch, flow_run_id)

    async def flow_runs(
        self, filters: Filters = EVERYTHING, sort: FlowRunSort = FlowRunSort.ID_DESC, page: Page = FIRST_PAGE
    ) -> list[FlowRun]:
        return reading.flow_runs(self.database.fetch, filters, sort, page)

    async def count_flow_runs(self, filters: Filters = EVERYTHING) -> int:
        return reading.count_flow_runs(self.database.fetch, filters)

    async def flow_run_states(self, flow_run_id: str) -> list[State[Any]]:
        """Every state a flow run went through, first to last."""
        return reading.flow_run_states(self.database.fetch, flow_run_id)

    async def find_flow_runs(self, text: str) -> list[FlowRun]:
        """The flow runs that `text` may mean: by id, by the beginning of an id, or by exact name; newest first."""
        return reading.find_flow_runs(self.database.fetch, text)

    async def task_runs(
        self, filters: Filters = EVERYTHING, sort: TaskRunSort = TaskRunSort.ID_DESC, page: Page = FIRST_PAGE
    ) -> list[TaskRun]:
        return reading.task_runs(self.database.fetch, filters, sort, page)

    async def count_task_runs(self, filters: Filters = EVERYTHING) -> int:
        return reading.count_task_runs(self.database.fetch, filters)

    async def task_run_states(self, task_run_id: str) -> list[State[Any]]:
        """Every state a task run went through, first to last."""
        return reading.task_run_states(self.database.fetch, task_run_id)

    async def find_task_runs(self, text: str, flow_run_id: str | None = None) -> list[TaskRun]:
        """As `find_flow_runs`, among the task runs of one flow run or of all."""
        return reading.find_task_runs(self.database.fetch, text, flow_run_id)

    async def logs(
        self, filter: LogFilter | None = None, sort: LogSort = LogSort.TIMESTAMP_ASC, page: Page = FIRST_PAGE
    ) -> list[Log]:
        return reading.logs(self.database.fetch, filter, sort, page)

    async def logs_after(self, seq: int, flow_run_id: str, limit: int = 1000) -> list[Log]:
        """The lines of a flow run that were committed after line `seq`, in the order of their commits."""
        return reading.logs_after(self.database.fetch, seq, flow_run_id, limit)

    async def delete_flow_run(self, flow_run_id: str) -> None:
        """Removes a flow run with its states, task runs, logs and result files.

        Raises:
            ObjectNotFound: there is no such flow run.
        """
        keys = await self._in_queue(lambda: orchestration.delete_flow_run(self._store, flow_run_id))
        for key in keys:
            with suppress(OSError):  # a file that is gone already
                os.unlink(os.path.join(settings.current().results_storage_path, key))

    async def check(self) -> list[str]:
        """What is wrong with the database; empty when nothing is."""
        return self.database.check()

    async def backup(self, target: str) -> None:
        """Copies the database into the new file `target`."""
        self.database.backup(target)

    async def _in_queue(self, work: Callable[[], T]) -> T:
        return await self.io.within(self.database, work)
