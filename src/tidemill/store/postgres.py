"""The PostgreSQL database: connections for as many threads as need one, writers side by side, plain errors.

Where SQLite's writers queue, these meet: rows are locked by the statements themselves (`/*postgres: FOR ... */`), in
transactions of isolation READ COMMITTED, whose every statement sees what was committed before it.

Statements are sent without waiting for the answers of those before (pipeline mode), until somebody reads one; so a
transaction costs one way there and back for each time that it reads, and one for its end.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import psycopg

from tidemill.colour import running_loop
from tidemill.exceptions import StoreError
from tidemill.interrupts import shielded
from tidemill.setting_kinds import database_place
from tidemill.settings import DEFAULT_LIMITS, DatabaseLimits
from tidemill.store import forks, postgres_schema
from tidemill.store.postgres_connections import Connection, Connections, connect
from tidemill.store.postgres_errors import ConnectionLost, Disturbed, Twice, plain_errors
from tidemill.store.postgres_listening import Listener
from tidemill.store.postgres_sql import translate
from tidemill.store.postgres_transaction import Transaction
from tidemill.store.thread_queue import ThreadQueue

T = TypeVar("T")

# What was given up for the sake of another transaction is tried again so often.
_MOST_TRIES = 20
_MOST_TRIES_IN_VAIN = 3
_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.5
# Who waits for changes is told at most so often by one process, and looks by itself for what came between.
_SECONDS_BETWEEN_NOTICES = 0.02


_END_TRANSACTION = b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_xid = xid($1::xid8)"
_NOTED = (
    b"SELECT 1 FROM change WHERE seq BETWEEN ($1::bigint + origin()) << 20 AND (($1::bigint + origin() + 1) << 20) - 1 "
    b"AND time = $2 AND coalesce(flow_runs, '') || coalesce(task_runs, '') = $3"
)


class PostgresDatabase:
    """The database at a URL, which is opened on first use.

    `enter` and `leave` are the queue of this process's recorder; a transaction needs no place in it.
    """

    kind = "postgres"

    def __init__(self, url: str, *, durability: str = "process", limits: DatabaseLimits = DEFAULT_LIMITS) -> None:
        self.url = url
        self.path = database_place(url)
        self._durability = durability
        self._limits = limits
        self._threads = ThreadQueue()
        self._own = _Own()
        self._patience: float | None = None
        self._prepared = False
        self._gone_since: float | None = None
        self._next_notice = 0.0
        self._connections = Connections(self._connect, limits.connections)
        self._listener: Listener | None = None
        forks.watch(self)

    @property
    def thread_lock(self) -> threading.RLock:
        """What keeps the threads of this process apart in the queue."""
        return self._threads.lock

    @property
    def version(self) -> str:
        """The version of the server."""
        return str(self.fetch("SHOW server_version")[0][0]).partition(" ")[0]

    def enter(self, wait: bool = True) -> bool:
        """Keeps every other writer of this process that enters out until `leave`; without `wait`, answers False at once if
        one is in, or if an event loop runs in this thread, which the way to the server must not stall. Re-entrant. Inside,
        the thread is shielded from interruptions; while it waits, it is not."""
        if not wait and running_loop() is not None:
            return False
        return self._threads.enter(wait)

    def leave(self) -> None:
        self._threads.leave()

    @contextmanager
    def waiting_at_most(self, seconds: float) -> Generator[None]:
        """In the block, waiting for the server to come back ends after so many seconds, with StoreUnreachable."""
        before, self._patience = self._patience, seconds
        try:
            yield
        finally:
            self._patience = before

    @property
    def busy(self) -> bool:
        """Whether this very thread is in the middle of a transaction: a signal handler or finalizer has interrupted it."""
        return self._own.transaction is not None

    def transaction(self) -> AbstractContextManager[Callable[..., Any]]:
        """A write transaction, as a context manager: gives the function that executes statements, commits at the end of the
        block, and rolls back when the block raises.

        It may be given up for the sake of another, or lose its connection: then nothing of it was committed, and
        `tries_again` says whether to run all of it again.

        Raises:
            StoreBusy, StoreFull, StoreReadOnly, StoreCorrupt, StoreTooNew, StoreUnreachable, StoreError
        """
        return Transaction(self)

    @contextmanager
    def group(self) -> Generator[None]:
        """Transactions in the block are committed one by one: the server makes groups of those that come at once."""
        yield

    def fetch(self, sql: str, bindings: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query; in a transaction of this thread, of what that sees."""
        if self._own.transaction is not None:
            with plain_errors(self.path):
                return self._own.transaction.execute(sql, bindings).fetchall()
        return self.persistently(lambda: self._fetch(translate(sql), bindings))

    def _fetch(self, statement: bytes, bindings: Sequence[Any]) -> list[tuple[Any, ...]]:
        with shielded, plain_errors(self.path):
            connection = self.take()
            try:
                return connection.execute(statement, bindings, binary=True).fetchall()
            finally:
                self.give(connection)

    def data_version(self) -> int:
        """A number that changes whenever somebody commits."""
        return hash(self.fetch("SELECT pg_current_snapshot()::text")[0][0])

    def schema(self) -> int:
        """The number of the last migration that the database has had, which is not migrated now; 0 if there are no tables."""
        with plain_errors(self.path):
            connection = connect(self.url, self._limits, durability=self._durability)
            try:
                return postgres_schema.version_of(connection)
            finally:
                connection.close()

    def wait_for_change(self, timeout_seconds: float) -> bool:
        """Returns True when something has been committed since this was last asked, or False after so many seconds, or when
        the database is closed. For one reader: it may be told more often than there is something new."""
        listener = self._listener
        if listener is None:
            listener = self._listener = Listener(self._connect)
        return listener.wait(timeout_seconds)

    def check(self) -> list[str]:
        """What is wrong with the tables; empty when nothing is."""
        return postgres_schema.problems(self.fetch)

    def backup(self, target: str) -> None:
        """Copies the database, as it is at one moment, into a new SQLite file.

        Raises:
            StoreError: there is a file of that name already, or it cannot be written.
        """
        from tidemill.store.copying import back_up

        back_up(self, target)

    @contextmanager
    def snapshot(self) -> Generator[Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]]:
        """Reads, in the block, what the database was at one moment, whatever is written meanwhile."""
        with plain_errors(self.path):
            connection = self.take()
            try:
                connection.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                connection.execute(b"SET LOCAL statement_timeout = 0")
                yield lambda sql, bindings: connection.execute(translate(sql), bindings, binary=True).fetchall()
                connection.execute(b"COMMIT")
            finally:
                self.give(connection)

    def move_on(self, execute: Callable[..., Any]) -> None:
        """Lets what is written from now on be numbered after everything that is there, in a transaction that has added rows
        with their numbers."""
        postgres_schema.move_on(execute)

    def tries_again(self, error: StoreError, tries: int) -> bool:
        """Whether to run an operation again that has ended with this error, for the `tries`-th time; waits before.

        That is safe: nothing of its last transaction was committed. Where the connection broke during the commit, the
        server has been asked what became of it; where it could not be, the transaction had read nothing and so had not decided
        anything, or it was about a lease or a claim: what it writes is the same when it is written twice.
        """
        if isinstance(error, ConnectionLost):
            pause = min(_FIRST_PAUSE * 2 ** min(tries, _MOST_TRIES), _LONGEST_PAUSE)
            if not self._may_come_back(pause, tries):
                return False
        elif isinstance(error, Disturbed) and tries < _MOST_TRIES:
            pause = random.uniform(0, min(_FIRST_PAUSE * tries, _LONGEST_PAUSE))
        elif isinstance(error, Twice) and tries < _MOST_TRIES_IN_VAIN:
            pause = 0.0
        else:
            return False
        with shielded.lifted():
            time.sleep(pause)
        return True

    def persistently(self, work: Callable[[], T]) -> T:
        """What `work` gives, which is tried again where `tries_again` says so."""
        tries = 0
        while True:
            try:
                return work()
            except StoreError as error:
                tries += 1
                if not self.tries_again(error, tries):
                    raise

    def _may_come_back(self, pause: float, tries: int) -> bool:
        """Whether a server that has gone is still waited for. One that was never there is not."""
        if self._gone_since is None:  # it is back
            return self._prepared and tries < _MOST_TRIES
        patience = self._limits.reconnect_timeout if self._patience is None else self._patience
        return time.monotonic() + pause < self._gone_since + min(patience, self._limits.reconnect_timeout)

    def close(self) -> None:
        """Closes the connections that nobody uses, and ends `wait_for_change`; the next use opens new ones."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        self._connections.close()

    def prepare_for_fork(self) -> None:
        """There is nothing to do: connections are the child's only if it uses them."""

    def forget_after_fork(self) -> None:
        """In a forked child: drops what belongs to the parent, without touching the parent's connections."""
        self._connections.forget_after_fork()
        if self._listener is not None:
            self._listener.forget_after_fork()
            self._listener = None
        self._threads.forget_after_fork()
        self._own = _Own()

    def take(self) -> Connection:
        """A connection for this thread alone, to be given back.

        Raises:
            psycopg.Error: the server cannot be reached.
        """
        wait = self._limits.connect_timeout + max(self._limits.statement_timeout, self._limits.lock_timeout)
        try:
            connection = self._connections.take(wait)
        except psycopg.Error as error:
            # Who was never reached is not waited for.
            if self._gone_since is None and (self._prepared or "starting up" in str(error)):
                self._gone_since = time.monotonic()
            raise
        return connection

    def give(self, connection: Connection) -> None:
        """Takes a connection back."""
        if connection.closed:
            if self._gone_since is None:
                self._gone_since = time.monotonic()
        else:
            self._gone_since = None
        self._connections.give(connection)

    def _connect(self) -> Connection:
        connection = connect(self.url, self._limits, durability=self._durability)
        if not self._prepared:
            try:
                with plain_errors(self.path):
                    postgres_schema.bring_up(connection, self.path)
            except BaseException:
                connection.close()
                raise
            self._prepared = True
        return connection

    def begin(self, transaction: Transaction) -> None:
        """Notes that a transaction of this thread begins.

        Raises:
            StoreError: this thread is in one already.
        """
        if self._own.transaction is not None:
            raise StoreError(
                "A flow was called from a signal handler or a finalizer that interrupted a commit; nothing can be recorded "
                "there. Call it from ordinary code."
            )
        self._own.transaction = transaction

    def end(self) -> None:
        """Notes that the transaction of this thread has ended."""
        self._own.transaction = None

    def may_tell(self) -> bool:
        """Whether those who wait for changes are to be told of one now."""
        now = time.monotonic()
        if now < self._next_notice:
            return False
        self._next_notice = now + _SECONDS_BETWEEN_NOTICES
        return True

    def has_committed(self, transaction_id: str, note: Sequence[Any]) -> bool:
        """Asks what became of a transaction whose connection broke while it was committed.

        Args:
            note: the values of the last change that it noted. They are looked for, since a server that has crashed may have
                given the same id to another transaction.

        Raises:
            StoreError: nobody can be asked.
        """
        while True:
            status = self.persistently(lambda: self._fetch(b"SELECT pg_xact_status($1::xid8)", (transaction_id,)))[0][0]
            if status != "in progress":
                break
            # The server has not noticed that the connection broke, or is just committing, which this does not end.
            self.persistently(lambda: self._fetch(_END_TRANSACTION, (transaction_id,)))
            time.sleep(_FIRST_PAUSE)
        run_ids = b"".join(value for value in note[1:] if isinstance(value, bytes))
        asked = (int(transaction_id), note[0], run_ids)
        return bool(self.persistently(lambda: self._fetch(_NOTED, asked)))


class _Own(threading.local):
    """What each thread has of its own."""

    transaction: Transaction | None = None
