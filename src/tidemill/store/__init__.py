"""The store: verbs on records, over one database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from tidemill.records import Batch
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

    def transaction(self) -> Any: ...

    def fetch(self, sql: str, bindings: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    def check(self) -> list[str]: ...

    def backup(self, target: str) -> None: ...

    def close(self) -> None: ...


class Store:
    """Everything Tidemill remembers."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @contextmanager
    def transaction(self) -> Iterator[writing.Execute]:
        """One write transaction; gives the function that executes statements in it."""
        with self.database.transaction() as connection:
            yield connection.execute

    def record(self, batch: Batch) -> dict[str, str]:
        """Writes a batch of task runs and logs; see `recording.record`."""
        with self.database.transaction() as connection:
            return recording.record(connection.execute, batch)


def open_store(path: str, *, durability: str) -> Store:
    """The store in the SQLite file at `path`; nothing is opened before it is used."""
    return Store(SqliteDatabase(path, sync_every_commit=durability == "power"))


__all__ = ["Store", "open_store"]
