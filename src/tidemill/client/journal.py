"""The session of a process whose runs are recorded by a server: a journal on this machine, which is shipped there.

The journal is a database like any other, so that recording costs what it costs without a server, and goes on while there is
none. The process is the authority on the runs it works on; from the server it hears what others want of them.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import msgspec

from tidemill import clock, orchestration
from tidemill.client.http import ServerConnection
from tidemill.client.session import Session
from tidemill.client.shipper import Shipper
from tidemill.client.shipping import Shipping, journal_path
from tidemill.exceptions import StoreError, StoreUnreachable
from tidemill.ids import from_bytes
from tidemill.protocol import News, SignOfLife, Standing, StateRow
from tidemill.records import Batch, Lease, LogEntry, Refusals, TaskRunEntry, add_refusal
from tidemill.settings import Settings
from tidemill.states import CANCELLING, CRASHED, TERMINAL_TYPES, State, StateDetails
from tidemill.store import Store, changes, entries, leases, open_store, shipments
from tidemill.store.shipments import Progress

_RENEWALS_PER_LEASE = 3
_BEAT_SECONDS = 1.0
_BEAT_WHILE_DOWN_SECONDS = 3.0
_ANSWER_SECONDS = 5.0
_MOST_RUNS_A_BEAT = 500
# A server that another process has heard of so recently is not asked who it is.
_BELIEVED_MICROSECONDS = 10_000_000
# What is recorded at once is cut into pieces, each a change: one is shipped whole.
_MOST_BYTES_A_CHANGE = 1024 * 1024
_ENTRY_BYTES = 1000

_log = logging.getLogger("tidemill")


class JournalSession(Session):
    """The process's place at the journal for one server."""

    def __init__(self, settings: Settings) -> None:
        self.path = journal_path(settings)
        self.server = ServerConnection(settings)
        self.shipper = Shipper(self.path, self.server, settings.lease_seconds, self._beat, self._heard_refusals)
        # The flow runs of this process that no other flow run has called: their end waits for the server.
        self.outermost: set[str] = set()
        self._acknowledge_seconds = settings.remote_acknowledge_seconds
        self._introduced = False
        self.told_of_cache = False
        self._owes = False
        self._told_waiting = False
        self._next_renewal = 0.0
        super().__init__(settings)
        self.shipping = Shipping(self.store, self.server, settings.lease_seconds)
        self.lease_seconds = settings.lease_seconds

    @staticmethod
    def place_of(settings: Settings) -> tuple[str | None, ...]:
        return journal_path(settings), settings.api_key, settings.api_auth_string

    def open_store(self, settings: Settings) -> Store:
        return open_store(self.path, durability=settings.durability)

    def introduce(self) -> None:
        """Asks the server, once, who it is. One that has been reached before may be down.

        Raises:
            StoreUnreachable: it does not answer, and no process of this machine has ever reached it.
            ServerRefused: it is none of ours, too old or too new, or does not know this user.
        """
        if self._introduced:
            return
        known = self._progress()
        if known is None or known.last_error is not None or clock.now() - known.updated > _BELIEVED_MICROSECONDS:
            self._greet(known is not None)
        self._introduced = True

    def _greet(self, known: bool) -> None:
        try:
            self.server.greet()
        except StoreUnreachable as error:
            if not known and self._progress() is None:  # else another process has reached it meanwhile
                raise StoreUnreachable(
                    f"{error} It has never been reached from here, so nothing is recorded: check TIDEMILL_API_URL and whether "
                    "the server runs. Without a server: tidemill config unset TIDEMILL_API_URL"
                ) from None
            _log.warning("%s Runs are recorded here and sent when it is back.", error)
        else:
            if not known:
                self.shipping.begin()

    def _progress(self) -> Progress | None:
        """How far the journal has been shipped; None: no process of this machine has ever reached the server."""
        return self.shipping.progress() if os.path.exists(self.path) else None

    def acknowledged(self, seconds: float | None = None) -> bool:
        """Waits until the server has all that is recorded here by now; False if it has not within so many seconds, by
        default those of the settings."""
        goal = self.shipping.latest()
        progress = self.shipping.progress()
        if progress is not None and progress.shipped.change >= goal:
            return True
        return self.shipper.settle(goal, self._acknowledge_seconds if seconds is None else seconds)

    def ship_first(self, seconds: float) -> None:
        """Waits for that before the server is asked for something.

        Raises:
            StoreUnreachable: it has not within so many seconds.
        """
        if not self.acknowledged(seconds):
            reason = self.shipper.error or "it does not answer in time."
            raise StoreUnreachable(f"The server at {self.server.url} has to be asked, and cannot be: {reason}")

    def tell_waiting(self) -> None:
        """Says, once, that the server lacks something."""
        progress = self.shipping.progress()
        waiting = self.shipping.latest() - (progress.shipped.change if progress is not None else 0)
        if waiting > 0 and not self._told_waiting:
            self._told_waiting = True
            _log.warning(
                "%s changes wait in the journal of this machine, since the server has not taken them: %s They are sent by the "
                "next tidemill command here, or now: tidemill journal ship",
                f"{waiting:,}",
                self.shipper.error or "it has not answered in time.",
            )

    def recorded(self) -> None:
        """Something was recorded that the server is to have, at the latest when this process ends."""
        self._owes = True
        self.shipper.note()

    def held_lease(self) -> Lease:
        """The claim under which this process works on runs, recorded here."""
        self.recorded_lease_id()
        return self.lease()

    def lease(self) -> Lease:
        self.shipper.begin_beating()
        return super().lease()

    def hand_over(self) -> None:
        try:
            if self._owes and not self.acknowledged():
                self.tell_waiting()
        finally:
            self.shipper.stop()
            self.server.close()

    def after_fork(self) -> None:
        self._owes = False
        self.server.after_fork()
        self.shipper.after_fork()
        super().after_fork()

    def _record(self, batch: Batch) -> Refusals:
        pieces = list(_pieces(batch))
        refused: Refusals = {}
        with self.store.database.group() if len(pieces) > 1 else nullcontext():
            for piece in pieces:
                for run_id, (attempt, reason) in super()._record(piece).items():
                    add_refusal(refused, run_id, attempt, reason)
        self.recorded()
        return refused

    def _clean_up(self) -> None:
        super()._clean_up()
        self.shipper.note()

    def _beat(self) -> float:
        """Tells the server that this process lives, and hears from it; says in how many seconds again."""
        now = time.monotonic()
        sign = SignOfLife([], self.lease_seconds, list(self.attempts)[:_MOST_RUNS_A_BEAT])
        lease = self._lease
        due = lease is not None and self._lease_recorded and now >= self._next_renewal
        if due and lease is not None:
            sign.leases.append(lease)
        if sign.leases or sign.flow_runs:
            try:
                self._hear(self.server.ask("signs_of_life", News, sign, seconds=_ANSWER_SECONDS), sign)
            except StoreError:  # who ships says it
                return _BEAT_WHILE_DOWN_SECONDS
            if due:
                self._next_renewal = now + self.lease_seconds / _RENEWALS_PER_LEASE
        return _BEAT_SECONDS if self.attempts else min(_BEAT_SECONDS, self.lease_seconds / _RENEWALS_PER_LEASE)

    def _hear(self, news: News, sign: SignOfLife) -> None:
        if news.lost_leases:
            self._ship_what_is_held()
        for flow_run_id, standing in news.flow_runs.items():
            self._hear_of(flow_run_id, standing)
        missing = [run for run in sign.flow_runs if run not in news.flow_runs]
        if missing:
            for flow_run_id in shipments.were_shipped(self.store.database.fetch, missing):
                self._give_up(flow_run_id, "the flow run was deleted")

    def _hear_of(self, flow_run_id: str, standing: Standing) -> None:
        mine = self.attempts.get(flow_run_id)
        type, attempt, lease_id, cancelling = standing
        if mine is None or attempt < mine:
            return
        if attempt > mine:
            self._give_up(flow_run_id, f"attempt {attempt} of the flow run has taken over from attempt {mine}")
        elif lease_id is not None and lease_id not in self.recorder.leases:
            self._give_up(flow_run_id, "another process holds the flow run")
        elif type is CANCELLING and cancelling is not None:
            self._cancel(flow_run_id, cancelling)
        elif type is CRASHED:  # it was not heard of for too long: what it ships now takes that back
            self._ship_again([flow_run_id])
        elif type in TERMINAL_TYPES:
            self._give_up(flow_run_id, f"the flow run was ended by others, as {type.value}")

    def _give_up(self, flow_run_id: str, reason: str) -> None:
        attempt = self.attempts.get(flow_run_id)
        if attempt is not None:
            self.recorder.refuse(flow_run_id, attempt, reason)

    def _heard_refusals(self, refused: Refusals) -> None:
        for flow_run_id, (attempt, reason) in refused.items():
            if flow_run_id in self.attempts or flow_run_id in self.outermost:
                self.recorder.refuse(flow_run_id, attempt, reason)

    def _cancel(self, flow_run_id: str, row: StateRow) -> None:
        """Takes over that somebody wants a flow run to be cancelled, and has it stopped."""
        state = State[None](
            type=CANCELLING,
            name=row.name,
            message=row.message,
            timestamp=clock.to_datetime(row.timestamp),
            id=from_bytes(row.id),
            state_details=msgspec.json.decode(row.details, type=StateDetails),
        )
        verdict = orchestration.propose_flow_run_state(self.store, flow_run_id, state)
        if verdict.status == "ACCEPT":
            self.shipper.note()
        self.watch.look_again()
        self.watch.look(self._check_hold)

    def _ship_what_is_held(self) -> None:
        lease = self._lease
        if lease is None:
            return
        with self.store.transaction() as execute:
            runs = leases.held_flow_runs(execute, lease.id)
        self._ship_again(runs, [entry.id for entry in entries.held_task_runs(self.store.database.fetch, lease.id)])

    def _ship_again(self, flow_runs: Sequence[str], task_runs: Sequence[str] = ()) -> None:
        with self.store.transaction() as execute:
            changes.note(execute, flow_runs=flow_runs, task_runs=task_runs)
        self.shipper.note()


def _pieces(batch: Batch) -> Iterator[Batch]:
    """The batch in pieces that are not too large each, in its order: nearly always the batch."""
    task_runs: list[TaskRunEntry] = []
    logs: list[LogEntry] = []
    size = 0
    for entry in batch.task_runs:
        task_runs.append(entry)
        size += _ENTRY_BYTES + len(entry.task_inputs) + len(entry.result.inline or b"" if entry.result else b"")
        if size > _MOST_BYTES_A_CHANGE:
            yield Batch(task_runs, [], batch.leases)
            task_runs, size = [], 0
    for line in batch.logs:
        logs.append(line)
        size += _ENTRY_BYTES + len(line[-1])
        if size > _MOST_BYTES_A_CHANGE:
            yield Batch(task_runs, logs, batch.leases)
            task_runs, logs, size = [], [], 0
    if task_runs or logs:
        yield Batch(task_runs, logs, batch.leases)
