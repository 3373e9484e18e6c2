"""A transaction among others that share one commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw

from tidemill.exceptions import StoreError
from tidemill.store.sqlite_errors import explained


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
