"""The store: verbs on records, over one database."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from tidemill.records import Batch, Refusals
from tidemill.store import recording, writing
from tidemill.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Sequence


class Database(Protocol):
    """What the store needs of a database."""

    path: str
    kind: str

    @property
    def version(self) -> str: ...

    def enter(self, wait: bool = True) -> bool: ...

    def leave(self) -> None: ...

    def waiting_at_most(self, seconds: float) -> AbstractContextManager[None]: ...

    @property
    def busy(self) -> bool: ...

    def transaction(self) -> AbstractContextManager[writing.Execute]: ...

    def group(self) -> AbstractContextManager[None]: ...

    def data_version(self) -> int: ...

    def fetch(self, sql: str, bindings: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    def check(self) -> list[str]: ...

    def backup(self, target: str) -> None: ...

    def close(self) -> None: ...


class Store:
    """Everything Tidemill remembers."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def transaction(self) -> AbstractContextManager[writing.Execute]:
        """One write transaction; gives the function that executes statements in it."""
        return self.database.transaction()

    def record(self, batch: Batch) -> Refusals:
        """Writes a batch of task runs and logs; see `recording.record`."""
        with self.database.transaction() as execute:
            return recording.record(execute, batch)


def open_store(path: str, *, durability: str) -> Store:
    """The store in the SQLite file at `path`; nothing is opened before it is used."""
    return Store(SqliteDatabase(path, sync_every_commit=durability == "power"))


__all__ = ["Store", "open_store"]
