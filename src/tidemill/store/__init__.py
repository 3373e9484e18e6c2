"""The store: verbs on records, over one database."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from tidemill.exceptions import StoreError
from tidemill.records import Batch, Refusals
from tidemill.settings import DEFAULT_LIMITS, DatabaseLimits
from tidemill.store import recording, writing
from tidemill.store.database import Database
from tidemill.store.sqlite import SqliteDatabase

P = ParamSpec("P")
T = TypeVar("T")


def retried(operation: Callable[Concatenate[Store, P], T]) -> Callable[Concatenate[Store, P], T]:
    """Makes of a function, which does all it does in one transaction and can do it again, one that does it again where the
    database gave the transaction up for the sake of another, or lost it before it was committed.

    SQLite, whose writers queue, gives none up.
    """

    @wraps(operation)
    def run(store: Store, *args: P.args, **kwargs: P.kwargs) -> T:
        tries = 0
        while True:
            try:
                return operation(store, *args, **kwargs)
            except StoreError as error:
                tries += 1
                if not store.database.tries_again(error, tries):
                    raise

    return run


class Store:
    """Everything Tidemill remembers."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def transaction(self) -> AbstractContextManager[writing.Execute]:
        """One write transaction; gives the function that executes statements in it. For functions that are `retried`."""
        return self.database.transaction()

    @retried
    def record(self, batch: Batch) -> Refusals:
        """Writes a batch of task runs and logs; see `recording.record`."""
        with self.database.transaction() as execute:
            return recording.record(execute, batch)


def open_store(address: str, *, durability: str, limits: DatabaseLimits = DEFAULT_LIMITS) -> Store:
    """The store in the SQLite file, or at the URL of a PostgreSQL database; nothing is opened before it is used.

    Raises:
        StoreError: what it takes to speak to PostgreSQL is not installed.
    """
    if not address.startswith("postgresql://"):
        return Store(SqliteDatabase(address, sync_every_commit=durability == "power"))
    try:
        from tidemill.store.postgres import PostgresDatabase
    except ImportError as error:
        raise StoreError(
            f"PostgreSQL needs a package that is not installed ({error}). Install it: pip install 'tidemill[postgres]'"
        ) from None
    return Store(PostgresDatabase(address, durability=durability, limits=limits))


__all__ = ["Database", "Store", "open_store", "retried"]
