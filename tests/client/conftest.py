"""A recorder over a real store, and what it needs to be given."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tidemill import ids
from tidemill.client.recorder import Recorder
from tidemill.records import Batch, LogEntry, Progress, TaskRunEntry
from tidemill.states import COMPLETED, PENDING
from tidemill.store import Store, open_store

LONG_AGO = 1_714_564_800_000_000


class Book:
    """A store, a recorder that writes into it, and the sizes of the batches it has written."""

    def __init__(self, store: Store, relaxed: bool) -> None:
        self.store = store
        self.batches: list[tuple[int, int]] = []
        self.in_the_way: Exception | None = None
        self.meanwhile: Callable[[], None] | None = None
        self.recorder = Recorder(store.database, self._write, relaxed=relaxed)

    def _write(self, batch: Batch) -> dict[str, str]:
        """The store's own verb, watched; a test can put an error in its way, or do something meanwhile."""
        if self.in_the_way is not None:
            raise self.in_the_way
        refused = self.store.record(batch)
        self.batches.append((len(batch.task_runs), len(batch.logs)))
        if self.meanwhile is not None:
            self.meanwhile()
        return refused

    @staticmethod
    def entry(**more: Any) -> TaskRunEntry:
        """A task run in Pending, outside a flow."""
        fields: dict[str, Any] = {
            **{"id": ids.new_id(), "flow_run_id": None, "attempt": 1, "name": "step-0", "task_key": "module.step"},
            **{"dynamic_key": "0", "tags": "[]", "policy": None, "created": LONG_AGO},
            "progress": Progress(PENDING, "Pending", (("PENDING", None, None, LONG_AGO),)),
        }
        return TaskRunEntry(**{**fields, **more})

    @staticmethod
    def end(entry: TaskRunEntry) -> TaskRunEntry:
        entry.progress = entry.progress.then(COMPLETED, None, None, LONG_AGO + 1)
        return entry

    @staticmethod
    def line(message: str) -> LogEntry:
        return (None, None, 20, LONG_AGO, "tidemill.task_runs", message)

    def states(self) -> dict[str, str]:
        """The task runs that are recorded, by id."""
        rows = self.store.database.fetch("SELECT id, state_type FROM task_run")
        return {ids.from_bytes(row[0]): row[1] for row in rows}

    def messages(self) -> list[str]:
        return [row[0] for row in self.store.database.fetch("SELECT message FROM log ORDER BY seq")]


MakeBook = Callable[..., Book]


@pytest.fixture
def make_book(tmp_path: Path) -> Iterator[MakeBook]:
    stores: list[Store] = []

    def make(*, relaxed: bool = False) -> Book:
        stores.append(open_store(str(tmp_path / "book" / "tidemill.db"), durability="process"))
        return Book(stores[-1], relaxed)

    yield make
    for store in stores:
        store.database.close()


@pytest.fixture
def book(make_book: MakeBook) -> Book:
    return make_book()
