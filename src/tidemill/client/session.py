"""What the runs of a process share: the store, the recorder, the lease, and the pulse that keeps both going."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from tidemill import clock, orchestration
from tidemill.client.pulse import Pulse
from tidemill.client.recorder import Recorder
from tidemill.client.watching import Watch
from tidemill.exceptions import StoreError
from tidemill.orchestration import Started, Verdict, processes
from tidemill.records import Batch, Lease, Refusals, TaskRunEntry
from tidemill.settings import Settings
from tidemill.states import TERMINAL_TYPES, StateType
from tidemill.store import Store, open_store, reading

# A lease is renewed this often within its length: two renewals may fail before it ends.
_RENEWALS_PER_LEASE = 3
_SECONDS_BETWEEN_LOOKS = 1.0

_lock = threading.Lock()  # for making a process's one session and one lease


class Session:
    """The process's place at one store."""

    def __init__(self, settings: Settings) -> None:
        self.store: Store = self.open_store(settings)
        self.recorder = Recorder(self.store.database, self._record, relaxed=settings.durability == "relaxed")
        self.closed = False
        # The flow runs that this process works on, each with its attempt.
        self.attempts: dict[str, int] = {}
        self._lease: Lease | None = None
        self._lease_recorded = False
        self.watch = Watch(self.store.database, lambda ids: reading.holds(self.store.database.fetch, ids))
        self._lease_seconds = settings.lease_seconds
        self._flush_interval = settings.flush_interval
        self._start_pulse()

    @staticmethod
    def place_of(settings: Settings) -> tuple[str | None, ...]:
        """What tells sessions of this kind from each other, beside the durability."""
        return (settings.database_address,)

    def open_store(self, settings: Settings) -> Store:
        """The store in which the runs are recorded."""
        return open_store(settings.database_address, durability=settings.durability, limits=settings.database_limits)

    def lease(self) -> Lease:
        """The claim under which this process works on runs, from now on kept alive."""
        with _lock:
            if self._lease is None:
                self._lease = processes.new_lease(os.getpid(), self._lease_seconds)
                self.recorder.leases = (*self.recorder.leases, self._lease.id)
                self._pulse.start_renewing()
            return self._lease

    def begin(self, work: Callable[[Lease], Started]) -> Started:
        """Lets `work` create or begin a flow run under this process's lease; to be called in the database's queue."""
        started = work(self._lease_still_held())
        self._lease_recorded = True
        self.follow(started.flow_run_id, started.verdict)
        return started

    @property
    def lease_id(self) -> str:
        """The id of the claim, not necessarily recorded yet."""
        lease = self._lease
        return lease.id if lease is not None else self.lease().id

    def recorded_lease_id(self) -> str:
        """The id of the claim once it is recorded, so that other processes can refer to it."""
        lease = self._lease
        if lease is not None and self._lease_recorded:
            return lease.id
        self.store.database.enter()
        try:
            return self._take_lease().id
        finally:
            self.store.database.leave()

    def _take_lease(self) -> Lease:
        """The claim, recorded; to be called in the database's queue."""
        lease = self._lease_still_held()
        if not self._lease_recorded:
            orchestration.take_lease(self.store, lease)
            self._lease_recorded = True
        return lease

    def _lease_still_held(self) -> Lease:
        """The claim: another one, if others took this process to have ended. To be called in the database's queue.

        Before a process takes its first, it ends the runs of processes that are gone.
        """
        lease = self.lease()
        if not self._lease_recorded:
            self._clean_up()
        elif not orchestration.holds_lease(self.store, lease):
            self._lose_lease(lease)
            lease = self.lease()
        return lease

    def _record(self, batch: Batch) -> Refusals:
        """The store's verb; in the database's queue."""
        unfinished = [entry for entry in batch.task_runs if entry.lease_id is not None]
        if unfinished:
            self._hold(unfinished)
        return self.store.record(batch)

    def _hold(self, unfinished: Sequence[TaskRunEntry]) -> None:
        """Sees to it that the lease of task runs outside flows is recorded before they are. Those that this process began
        under a lease that it has lost since go on under its new one."""
        mine = self._lease.id if self._lease is not None else None
        own = [entry for entry in unfinished if entry.lease_id == mine or entry.lease_id not in self.recorder.leases]
        if not own:
            return
        lease = self._take_lease()
        for entry in own:
            if entry.lease_id != lease.id:
                entry.lease_id = lease.id

    def follow(self, flow_run_id: str, verdict: Verdict) -> None:
        """Notes on which attempt this process now works, if any; to be called in the database's queue, so that the pulse,
        which reads there, never sees more than is noted."""
        if verdict.state is not None and verdict.state.is_running():
            self.attempts[flow_run_id] = verdict.attempt
        elif verdict.status == "ABORT" or (verdict.state is not None and verdict.state.is_final()):
            self.attempts.pop(flow_run_id, None)

    def adopt(self, lease_id: str) -> None:
        """Records for the runs of another process too, which renews that lease and gives it back: the parent of this
        process, which was started for one of its tasks."""
        if lease_id not in self.recorder.leases:
            self.recorder.leases = (*self.recorder.leases, lease_id)

    def watch_for_cancelling(self, flow_run_id: str, on_cancelling: Callable[[], None]) -> None:
        """Calls `on_cancelling`, once, on the pulse's thread, within about a second after others asked to cancel the run."""
        self.watch.add(flow_run_id, on_cancelling)
        self._pulse.start_looking()

    def close(self) -> None:
        """Writes what waits, gives the lease back and closes the store."""
        self.closed = True
        self._pulse.stop()
        try:
            if self.recorder.waiting:
                self.recorder.flush()
            if self._lease is not None:
                with suppress(StoreError):  # who cannot write has told so; the lease then ends by itself
                    self._release(self._lease)
            self.hand_over()
        finally:
            self.store.database.close()

    def _release(self, lease: Lease) -> None:
        """Gives the lease back, once what another thread is just writing is written."""
        self.store.database.enter()
        try:
            orchestration.release_lease(self.store, lease)
        finally:
            self.store.database.leave()

    def hand_over(self) -> None:
        """The last that is done while the store is open."""

    def after_fork(self) -> None:
        """In a forked child: its parent writes what waits; the child records for the parent's runs under the parent's
        lease, and takes one of its own for runs that it starts itself."""
        self.recorder.forget()
        self._lease = None
        self._lease_recorded = False
        self.attempts.clear()
        self.watch.forget()
        self._start_pulse()

    def _start_pulse(self) -> None:
        self._pulse = Pulse(
            self.recorder,
            self._renew_lease,
            interval=self._flush_interval,
            renew_seconds=self._lease_seconds / _RENEWALS_PER_LEASE,
            look=self._look,
            look_seconds=_SECONDS_BETWEEN_LOOKS,
        )

    def _renew_lease(self) -> None:
        """One renewal; and whoever renews also ends what others have lost."""
        database = self.store.database
        database.enter()
        try:
            lease = self._lease
            if lease is None:
                return
            if orchestration.renew_lease(self.store, lease, self._lease_seconds):
                self._lease_recorded = True
            elif self._lease_recorded:
                self._lose_lease(lease)
        finally:
            database.leave()
        self._clean_up()

    def _clean_up(self) -> None:
        """What every process does for all, now and then."""
        now = clock.now()
        orchestration.reclaim_lost_runs(self.store, now)
        orchestration.forget_old_changes(self.store, now)

    def _lose_lease(self, lease: Lease) -> None:
        """Others took this process to have ended, since it was stopped for too long: what it was at work on is theirs."""
        reason = "this process was stopped for longer than its lease, and was taken to have ended"
        for flow_run_id, attempt in list(self.attempts.items()):
            self.recorder.refuse(flow_run_id, attempt, reason)
        self.attempts.clear()
        self.recorder.leases = tuple(held for held in self.recorder.leases if held != lease.id)
        self._lease = None
        self._lease_recorded = False

    def _look(self) -> bool:
        """Whether anything is being watched still."""
        if len(self.watch):
            self.watch.look(self._check_hold)
        return len(self.watch) > 0

    def _check_hold(self, flow_run_id: str, type: StateType, attempt: int, lease_id: str | None) -> None:
        """Notes that a run is no longer this process's own: it was taken over, or ended by others."""
        mine = self.attempts.get(flow_run_id)
        if mine is None or mine > attempt:
            return
        if mine < attempt:
            self.recorder.refuse(flow_run_id, mine, f"attempt {attempt} of the flow run has taken over from attempt {mine}")
        elif lease_id is not None and lease_id not in self.recorder.leases:
            self.recorder.refuse(flow_run_id, mine, "another process holds the flow run")
        elif type in TERMINAL_TYPES:
            self.recorder.refuse(flow_run_id, mine, f"the flow run was ended by others, as {type.value}")


S = TypeVar("S", bound=Session)
_sessions: dict[tuple[str | None, ...], Session] = {}


def session_for(settings: Settings) -> Session:
    """The session of this process at the database that the settings name."""
    return session_of_kind(Session, settings)


def session_of_kind(kind: type[S], settings: Settings) -> S:
    """The session of this process at the place that the settings name for this kind of session."""
    key = (kind.__name__, *kind.place_of(settings), settings.durability)
    with _lock:
        session = _sessions.get(key)
        if session is None:
            session = _sessions[key] = kind(settings)
        assert isinstance(session, kind)
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
