"""One journal on its way to its server: what is next, that it has arrived, and what to do where the two do not agree."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import NamedTuple

from tidemill import clock
from tidemill.client.http import ServerConnection, TooLarge, address_of
from tidemill.ids import from_bytes, new_id
from tidemill.protocol import BEGINNING, Position, Receipt, Shipment
from tidemill.records import Refusals
from tidemill.settings import Settings
from tidemill.store import Store, changes, open_store, shipments
from tidemill.store.shipments import Progress

# About so many bytes are shipped at once, and fewer where the server takes less.
_MOST_BYTES = 4 * 1024 * 1024
_FEWEST_BYTES = 4 * 1024
# Runs that have ended stay in the journal for so long after they were shipped; then they go, some rows at a time.
_KEPT_MICROSECONDS = 60 * 60 * 1_000_000
_ROWS_AT_ONCE = 2000


def journal_path(settings: Settings) -> str:
    """The file of the journal for the server that the settings name."""
    assert settings.api_url is not None
    name = sha256(address_of(settings.api_url).encode()).hexdigest()[:12]
    return os.path.join(folder_of_journals(settings), f"{name}.db")


def folder_of_journals(settings: Settings) -> str:
    """Where the journals of this home are: one for each server."""
    return os.path.join(settings.home, "journals")


class Journal(NamedTuple):
    """A journal of this home: for which server, how many changes wait there, since when, and why. Times are microseconds."""

    path: str
    server: str
    waiting: int
    oldest: int | None
    updated: int
    last_error: str | None


def journals(settings: Settings) -> list[Journal]:
    """The journals of this home."""
    folder = folder_of_journals(settings)
    if not os.path.isdir(folder):
        return []
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".db")]
    return [journal for path in paths for journal in _journals_in(path)]


def _journals_in(path: str) -> list[Journal]:
    store = open_store(path, durability="process")
    try:
        fetch = store.database.fetch
        found: list[Journal] = []
        for server in shipments.servers(fetch):
            progress = shipments.progress(fetch, server)
            if progress is not None:
                waiting = changes.after(fetch, str(progress.shipped.change), 1)
                count = shipments.latest(fetch) - progress.shipped.change
                oldest = waiting[0].time if waiting else None
                found.append(Journal(path, server, count, oldest, progress.updated, progress.last_error))
        return found
    finally:
        store.database.close()


class Shipping:
    """Ships a journal to a server. Any method may raise a StoreError."""

    def __init__(self, store: Store, server: ServerConnection, lease_seconds: float) -> None:
        self._store = store
        self._server = server
        self._lease_seconds = lease_seconds
        self._most_bytes = _MOST_BYTES

    def progress(self) -> Progress | None:
        """How far the journal has been shipped; None: no process has ever reached the server."""
        return shipments.progress(self._store.database.fetch, self._server.url)

    def begin(self) -> None:
        """Notes that the server has been reached, so that from now on runs are recorded also while it is down."""
        with self._store.transaction() as execute:
            shipments.begin(execute, self._server.url, clock.now())

    def latest(self) -> int:
        """The number of the newest change in the journal."""
        return shipments.latest(self._store.database.fetch)

    def ship(self) -> Refusals | None:
        """Ships what is next; None if there is nothing.

        Returns:
            The flow runs of which the server has refused something.
        """
        before = self.progress()
        if before is None:
            self._server.greet()
            self.begin()
            return {}
        with self._store.database.snapshot() as fetch:
            contents = shipments.contents(fetch, before.shipped, self._most_bytes)
        if contents.upto == before.shipped:
            return None
        shipment = Shipment(
            journal=before.journal,
            after=before.shipped,
            upto=contents.upto,
            begins=before.shipped == BEGINNING,
            leases=contents.leases,
            lease_seconds=self._lease_seconds,
            flow_runs=contents.flow_runs,
            task_runs=contents.task_runs,
            logs=contents.logs,
        )
        try:
            receipt = self._send(shipment)
        except TooLarge:
            if self._most_bytes < _FEWEST_BYTES:
                raise
            self._most_bytes //= 2
            return {}
        if not receipt.taken:
            self._agree(before, receipt.has)
            return {}
        refused = {*receipt.refused}
        arrived = [story.run.id for story in contents.flow_runs if from_bytes(story.run.id) not in refused]
        self._advance(contents.upto, arrived)
        self._most_bytes = min(2 * self._most_bytes, _MOST_BYTES)
        return receipt.refused

    def forget_ended(self) -> None:
        """Removes from the journal some of what ended long ago, and what follows it."""
        with self._store.transaction() as execute:
            now = clock.now()
            shipments.forget_ended(execute, self._server.url, now - _KEPT_MICROSECONDS, _ROWS_AT_ONCE)
            changes.prune(execute, now - _KEPT_MICROSECONDS, _ROWS_AT_ONCE)

    def note_error(self, error: str) -> None:
        """Keeps why the journal is not being shipped, for people to see."""
        with self._store.transaction() as execute:
            shipments.note_error(execute, self._server.url, error, clock.now())

    def _send(self, shipment: Shipment) -> Receipt:
        return self._server.ask("shipments", Receipt, shipment)

    def _advance(self, upto: Position, arrived: list[bytes]) -> None:
        with self._store.transaction() as execute:
            shipments.advance(execute, self._server.url, upto, arrived, clock.now())

    def _agree(self, before: Progress, has: Position | None) -> None:
        """Goes on from where the server is, where that is not where this journal believes it to be."""
        fetch = self._store.database.fetch
        if has is None:  # it has lost what it had, or is another one at the same address
            self._begin_anew(new_id(), BEGINNING)
        elif shipments.time_of(fetch, has.change) != has.time:  # it has it from a copy of this journal, which has gone on
            self._begin_under_new_id(before.shipped)
        elif has.change > before.shipped.change:  # its answer was lost
            missed = changes.after(fetch, str(before.shipped.change), has.change - before.shipped.change)
            flow_runs = {run for change in missed for run in change.flow_runs}
            self._advance(has, [bytes.fromhex(run.replace("-", "")) for run in flow_runs])
        else:  # it was restored from a backup
            with self._store.transaction() as execute:
                shipments.go_back(execute, self._server.url, has, clock.now())

    def _begin_under_new_id(self, after: Position) -> None:
        journal = new_id()
        registered = Shipment(journal, after, after, True, [], self._lease_seconds, [], [], [])
        if self._send(registered).taken:
            self._begin_anew(journal, after)

    def _begin_anew(self, journal: str, after: Position) -> None:
        with self._store.transaction() as execute:
            shipments.begin_anew(execute, self._server.url, journal, after, clock.now())
