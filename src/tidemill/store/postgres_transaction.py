"""One transaction in PostgreSQL: sent without waiting for answers, and asked after where its commit was cut off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Protocol

import psycopg
from psycopg import pq

from tidemill.exceptions import StoreError, StoreUnreachable
from tidemill.interrupts import shielded
from tidemill.store.postgres_connections import Connection
from tidemill.store.postgres_errors import explained, is_lost, plain_errors
from tidemill.store.postgres_listening import CHANNEL
from tidemill.store.postgres_sql import translate

_numbers = count()


class TransactionalDatabase(Protocol):
    """What a transaction needs of its database."""

    path: str

    def take(self) -> Connection: ...

    def give(self, connection: Connection) -> None: ...

    def begin(self, transaction: Transaction) -> None: ...

    def end(self) -> None: ...

    def may_tell(self) -> bool: ...

    def has_committed(self, transaction_id: str, note: Sequence[Any]) -> bool: ...


class Transaction:
    """See `PostgresDatabase.transaction`.

    Args:
        database: whose it is.
    """

    __slots__ = ("_committing", "_connection", "_database", "_id", "_note", "_pipeline")

    def __init__(self, database: TransactionalDatabase) -> None:
        self._database = database
        self._note: Sequence[Any] | None = None
        self._committing = False

    def __enter__(self) -> Callable[..., Any]:
        shielded.__enter__()
        try:
            self._database.begin(self)
        except BaseException:
            shielded.__exit__()
            raise
        try:
            with plain_errors(self._database.path):
                self._connection = self._database.take()
        except BaseException:
            self._finish()
            raise
        try:
            self._pipeline = self._connection.pipeline()
            self._pipeline.__enter__()
            self._connection.execute(b"BEGIN")
            self._id = self._connection.execute(b"SELECT pg_current_xact_id()::text", binary=True)
        except BaseException as error:
            self._end(error)
            raise
        return self.execute

    def execute(self, sql: str, bindings: Sequence[Any] = ()) -> psycopg.Cursor[tuple[Any, ...]]:
        """Sends a statement; its answer, or error, arrives when rows of this or a later one are read, or with the commit."""
        if sql.startswith("INSERT INTO change"):
            self._note = bindings
        return self._connection.execute(translate(sql), bindings, binary=True)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            try:
                self._commit()
            except BaseException as failure:
                error = failure
        self._end(error)

    def _commit(self) -> None:
        self._committing = True
        connection = self._connection
        connection.execute(b"COMMIT")
        if self._note is not None and self._database.may_tell():
            # After the commit, as a transaction of its own: notices are committed one after the other, in all databases of
            # the server, and would make all writers wait for one another.
            connection.execute(b"SELECT pg_notify($1, current_schema())", (CHANNEL,))
        self._pipeline.__exit__(None, None, None)

    def _end(self, error: BaseException | None) -> None:
        """Leaves the transaction, which `error` has ended; if it is the database's, raises ours."""
        connection = self._connection
        unknown = self._committing and isinstance(error, psycopg.Error) and is_lost(error)
        try:
            if error is not None:
                self._roll_back(error)
        finally:
            self._database.give(connection)
            self._finish()
        if unknown and self._was_committed():
            return
        if isinstance(error, psycopg.Error):
            raise explained(error, self._database.path) from None
        if error is not None and self._committing:
            raise error

    def _roll_back(self, error: BaseException) -> None:
        connection = self._connection
        failed = isinstance(error, psycopg.Error)
        try:
            self._pipeline.__exit__(None, None, None)
        except psycopg.Error:
            failed = True
        if isinstance(error, psycopg.Error) and is_lost(error):
            connection.close()
        if not connection.closed and (failed or connection.pgconn.transaction_status != pq.TransactionStatus.IDLE):
            # psycopg takes statements for prepared that the server has skipped after the one that failed. It forgets them all
            # at a ROLLBACK, but only looks at one that it has not seen before.
            text = f"ROLLBACK /* {next(_numbers)} */" if failed else "ROLLBACK"
            with suppress(psycopg.Error):
                connection.execute(text.encode())

    def _finish(self) -> None:
        self._database.end()
        shielded.__exit__()

    def _was_committed(self) -> bool:
        """Whether the commit, in which the connection broke, was made. Not known where the transaction had read nothing, or
        had changed nothing that others follow."""
        answer = self._id.pgresult
        if self._note is None or answer is None or answer.status != pq.ExecStatus.TUPLES_OK:
            return False
        try:
            return self._database.has_committed(self._id.fetchall()[0][0], self._note)
        except StoreUnreachable as error:
            raise StoreUnreachable(
                f"The connection broke during a commit, and whether that was made cannot be asked. {error}"
            ) from None
        except StoreError:  # another server has taken its place, and has never heard of it
            return False
