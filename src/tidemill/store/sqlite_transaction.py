"""Transactions in SQLite: one that commits by itself, and one among others that share a commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import apsw

from tidemill.exceptions import StoreError
from tidemill.store.sqlite_errors import explained


class TransactionalDatabase(Protocol):
    """What a transaction needs of its database."""

    path: str

    def enter(self, wait: bool = True) -> bool: ...

    def leave(self) -> None: ...

    def begin(self) -> None: ...

    def end(self) -> None: ...

    def connect(self) -> Any: ...

    def checkpoint_if_due(self) -> None: ...


class Transaction:
    """See `SqliteDatabase.transaction`. Not a generator, since every task's commit passes here."""

    __slots__ = ("_database", "connection")

    def __init__(self, database: TransactionalDatabase) -> None:
        self._database = database

    def __enter__(self) -> Callable[..., Any]:
        self._database.enter()
        try:
            self._database.begin()
        except BaseException:
            self._database.leave()
            raise
        try:
            self.connection = self._database.connect()
            self.connection.execute("BEGIN IMMEDIATE")
        except BaseException as error:
            self._leave(error)
            raise
        return self.connection.execute

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            if error is None:
                self.connection.execute("COMMIT")
                self._database.checkpoint_if_due()
        except BaseException as failure:
            error = failure
            raise
        finally:
            self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        try:
            connection = getattr(self, "connection", None)
            if error is not None and connection is not None and connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, apsw.Error):
                raise explained(error, self._database.path) from None
        finally:
            self._database.end()
            self._database.leave()


class Savepoint:
    """A transaction within a group of them; see `SqliteDatabase.group`."""

    def __init__(self, connect: Callable[[], Any], path: str) -> None:
        self._connect = connect
        self._path = path

    def __enter__(self) -> Callable[..., Any]:
        self._connection = self._connect()
        if not self._connection.in_transaction:  # a full disk has rolled everything back
            raise StoreError("An operation that shared this transaction has failed, and nothing of it was written. Try again.")
        self._connection.execute("SAVEPOINT member")
        return self._connection.execute

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self._connection.in_transaction:
            if error is not None:
                self._connection.execute("ROLLBACK TO member")
            self._connection.execute("RELEASE member")
        if isinstance(error, apsw.Error):
            raise explained(error, self._path) from None
