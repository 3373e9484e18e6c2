"""The SQLite database: one writer connection a process, one queue for all processes, plain errors."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import apsw

from tidemill.exceptions import StoreError, StoreReadOnly, StoreUnreachable
from tidemill.interrupts import shielded
from tidemill.store import forks, migrate
from tidemill.store.commit_watch import CommitWatch
from tidemill.store.file_systems import refuse_network_file_system
from tidemill.store.filelock import FileLock
from tidemill.store.sqlite_errors import folder_error, plain_errors, too_new
from tidemill.store.sqlite_transaction import Savepoint, Transaction
from tidemill.store.thread_queue import ThreadQueue

# A commit writes every page it touches whole, and a task touches about six: small pages halve what goes to the disk.
_PAGE_SIZE = 2048
# The write-ahead log is checkpointed when it has grown to this many pages (4 MiB), by a writer that holds the queue's lock
# anyway, and then used again from its start: overwriting a file is much cheaper than growing one.
_CHECKPOINT_PAGES = 2048
# Only foreign programs can make us wait here: our own writers queue on the file lock.
_FOREIGN_WRITER_TIMEOUT_MS = 60_000
# Who closes while another process is in for longer is not the last to close, and so has nothing to write.
_CLOSING_PATIENCE_SECONDS = 1.0
_POLL_SECONDS = 0.002


class SqliteDatabase:
    """A connection to the database file at `path`, made on first use, shared by the threads of this process.

    Use it as a section (`enter`, `leave`) or, for a transaction, through `transaction()`.
    """

    kind = "sqlite"

    def __init__(self, path: str, *, sync_every_commit: bool = False) -> None:
        self.path = path
        self._synchronous = "FULL" if sync_every_commit else "NORMAL"
        self._connection: Any = None
        self._read_only: Any = None
        self._queue: FileLock | None = None
        self._patience: float | None = None
        self._depth = 0
        self._in_transaction = False
        self._group_thread: int | None = None
        self._inode = 0
        self._threads = ThreadQueue()
        self._wal_pages = 0
        self._commits = 0
        self._opened = 0
        self._watch: CommitWatch | None = None
        forks.watch(self)

    @property
    def thread_lock(self) -> threading.RLock:
        """What keeps the threads of this process apart."""
        return self._threads.lock

    @property
    def version(self) -> str:
        """The version of the SQLite library in use."""
        return apsw.sqlite_lib_version()

    def enter(self, wait: bool = True) -> bool:
        """Keeps every other writer, of this process and of others, out until `leave`; without `wait`, answers False at once
        if one is in. Re-entrant. Inside, the thread is shielded from interruptions; while it waits, it is not.

        Raises:
            StoreUnreachable: the process that is in is stopped, and has been for long.
        """
        if not self._threads.enter(wait):
            return False
        try:
            if self._stand_in_queue(wait):
                return True
        except BaseException:
            self._threads.leave()
            raise
        self._threads.leave()
        return False

    @contextmanager
    def waiting_at_most(self, seconds: float) -> Generator[None]:
        """In the block, waiting for other processes ends after so many seconds, with StoreUnreachable; whatever they do."""
        before, self._patience = self._patience, seconds
        try:
            yield
        finally:
            self._patience = before

    def leave(self) -> None:
        self._depth -= 1
        try:
            if self._depth == 0 and self._queue is not None:
                self._queue.release()
        finally:
            self._threads.leave()

    @property
    def busy(self) -> bool:
        """Whether this very thread is in the middle of a transaction: a signal handler or finalizer has interrupted it."""
        return self._in_transaction

    def _stand_in_queue(self, wait: bool) -> bool:
        self._depth += 1  # first: what interrupts us here must not leave the queue for us
        try:
            if self._depth > 1 or self._open_queue().acquire(wait, self._patience):
                return True
        except BaseException:
            self._depth -= 1
            raise
        self._depth -= 1
        return False

    def transaction(self) -> Transaction | Savepoint:
        """A write transaction, as a context manager: gives the function that executes statements, commits at the end of the
        block, and rolls back when the block raises.

        Raises:
            StoreFull, StoreReadOnly, StoreCorrupt, StoreTooNew, StoreUnreachable, StoreError
        """
        if self._group_thread is not None and self._group_thread == threading.get_ident():
            return Savepoint(self.connect, self.path)
        return Transaction(self)

    @contextmanager
    def group(self) -> Generator[None]:
        """Makes one transaction of those in the block: each is still whole or not there at all, all are committed at its end.

        Raises:
            StoreError: they could not be committed, so none was.
        """
        with Transaction(self):
            self._group_thread = threading.get_ident()
            try:
                yield
            finally:
                self._group_thread = None

    def fetch(self, sql: str, bindings: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query; needs no place in the queue, since in WAL mode readers and writers do not meet."""
        with self.thread_lock, plain_errors(self.path):
            connection = self._connection or self._read_only or self._connect_to_read()
            return connection.execute(sql, tuple(bindings)).fetchall()

    def data_version(self) -> int:
        """A number that changes whenever another connection commits."""
        version: int = self.fetch("PRAGMA data_version")[0][0]
        return (self._opened << 32) + version  # each connection begins to count anew

    def schema(self) -> int:
        """The number of the last migration that the file has had, which is not migrated now; 0 if there is no file."""
        if not os.path.exists(self.path):
            return 0
        with self.thread_lock, plain_errors(self.path):
            connection: Any = apsw.Connection(self.path, flags=apsw.SQLITE_OPEN_READONLY)
            try:
                return _schema_of(connection)
            finally:
                connection.close()

    def wait_for_change(self, timeout_seconds: float) -> bool:
        """Returns True when something has been committed since this was last asked, or False after so many seconds, or when
        the database is closed. For one reader: it may be told more often than there is something new."""
        watch = self._watch
        if watch is None:
            watch = self._watch = CommitWatch(lambda: (self.data_version(), self._commits))
        return watch.wait(timeout_seconds)

    def tries_again(self, error: StoreError, tries: int) -> bool:
        """Whether to run an operation again that has ended with this error: no, since nothing disturbs a writer here."""
        return False

    @contextmanager
    def snapshot(self) -> Generator[Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]]:
        """Reads, in the block, what the database was at one moment, whatever other processes write meanwhile."""
        self.fetch("SELECT 1")  # brings the schema up
        with self.thread_lock, plain_errors(self.path):
            connection: Any = apsw.Connection(self.path, flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                connection.set_busy_timeout(_FOREIGN_WRITER_TIMEOUT_MS)
                connection.execute("BEGIN")
                yield lambda sql, bindings: connection.execute(sql, tuple(bindings)).fetchall()
            finally:
                connection.close()

    def move_on(self, execute: Callable[..., Any]) -> None:
        """Lets what is written from now on be numbered after everything that is there: it always is."""

    def check(self) -> list[str]:
        """What is wrong with the file; empty when nothing is."""
        problems = [str(row[0]) for row in self.fetch("PRAGMA integrity_check") if row[0] != "ok"]
        orphans = self.fetch("PRAGMA foreign_key_check")
        return problems + [f"Row {row[1]} of {row[0]} points to a missing {row[2]}." for row in orphans]

    def backup(self, target: str) -> None:
        """Copies the database, as it is at one moment, into a new file.

        Raises:
            StoreError: there is a file of that name already, or it cannot be written.
        """
        if os.path.exists(target):
            raise StoreError(f"{target} exists already; name a file that does not.")
        with self.thread_lock, plain_errors(target):
            source = self._connection or self._connect_in_queue()
            destination = apsw.Connection(target)
            try:
                with destination.backup("main", source, "main") as copying:
                    copying.step()
            finally:
                destination.close()

    def close(self) -> None:
        """Closes the connection, in the queue, since the last one to close checkpoints."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()
        with self.thread_lock:
            self._close_connections(self._enter_to_close)
            if self._queue is not None and self._depth == 0:
                self._queue.forget()
                self._queue = None

    def _close_connections(self, enter: Callable[[], bool]) -> None:
        if self._connection is not None:
            entered = enter()
            try:
                self._connection.close()
                self._connection = None
            finally:
                if entered:
                    self.leave()
        if self._read_only is not None:
            self._read_only.close()
            self._read_only = None

    def _enter_to_close(self) -> bool:
        try:
            with self.waiting_at_most(_CLOSING_PATIENCE_SECONDS):
                return self.enter()
        except StoreUnreachable:
            return False

    def prepare_for_fork(self) -> None:
        """Closes the connections; the next use opens new ones.

        SQLite keeps in the process which locks it has on a file. A child would inherit that, but not the locks: it would write
        to a log of changes that others take to be nobody's, and delete, and the file would be damaged.
        """
        if not self._in_transaction:  # else it is a signal handler that forks, or a finalizer, in the middle of a commit
            self._close_connections(self._enter_to_fork)

    def _enter_to_fork(self) -> bool:
        """As `_enter_to_close`, but nothing interrupts it: what is raised before a fork gets lost."""
        until = time.monotonic() + _CLOSING_PATIENCE_SECONDS
        while not self.enter(wait=False):
            if time.monotonic() > until:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def forget_after_fork(self) -> None:
        """In a forked child: drops what belongs to the parent, without touching the parent's files or locks.

        A connection in the middle of a transaction is neither closed nor ever freed, since SQLite would checkpoint under the
        parent's feet.
        """
        if self._connection is not None:
            import ctypes

            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
        if self._queue is not None:
            self._queue.forget()
        self._connection = self._read_only = self._queue = self._watch = None
        self._depth = 0
        self._in_transaction = False
        self._group_thread = None
        self._threads.forget_after_fork()

    def _open_queue(self) -> FileLock:
        if self._queue is None:
            folder = os.path.dirname(self.path)
            try:
                os.makedirs(folder, exist_ok=True)
                refuse_network_file_system(folder)
                self._queue = FileLock(self.path + ".lock")
            except OSError as error:
                raise folder_error(folder, error) from None
        return self._queue

    def _connect_to_read(self) -> Any:
        """The connection, or where nothing can be written one that only reads."""
        try:
            with shielded:
                self._open_queue()
                return self._connect_beside_queue() or self._connect_in_queue()
        except StoreReadOnly:
            if not os.path.exists(self.path):
                raise
        # Without a log of changes beside it the file is complete, and can be read where SQLite may not make one.
        how = "mode=ro" if os.path.exists(self.path + "-wal") else "immutable=1"
        address = f"file:{quote(os.path.abspath(self.path))}?{how}"
        self._read_only = apsw.Connection(address, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        return self._read_only

    def _connect_beside_queue(self) -> Any:
        """The connection to a file that is there and needs no migration: nothing is written to it then, so that it can be
        read whoever is in the queue. None for any other."""
        if not os.path.exists(self.path):
            return None
        try:
            connection: Any = apsw.Connection(self.path, flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                connection.set_busy_timeout(_FOREIGN_WRITER_TIMEOUT_MS)
                if not connection.readonly("main") and _schema_of(connection) == migrate.latest():
                    return self._set_up(connection)
            except BaseException:
                connection.close()
                raise
            connection.close()
        except apsw.Error:  # in the queue it will be seen again, and explained
            pass
        return None

    def _connect_in_queue(self) -> Any:
        self.enter()
        try:
            return self._connect()
        finally:
            self.leave()

    def connect(self) -> Any:
        """The connection; to be called in the queue. A file that was removed is made anew, since what is written to a file
        without a name is lost."""
        if self._connection is not None and not self._is_in_place():
            self._connection.close()
            self._connection = None
            if self._queue is not None:
                self._queue.forget()
                self._queue = None
            self._open_queue().acquire()
        return self._connection or self._connect()

    def _is_in_place(self) -> bool:
        try:
            return os.stat(self.path).st_ino == self._inode
        except OSError:
            return False

    def begin(self) -> None:
        """Notes that a transaction begins.

        Raises:
            StoreError: this thread is in one already.
        """
        if self._in_transaction:
            raise StoreError(
                "A flow was called from a signal handler or a finalizer that interrupted a commit; nothing can be recorded "
                "there. Call it from ordinary code."
            )
        self._in_transaction = True

    def end(self) -> None:
        """Notes that the transaction has ended."""
        self._in_transaction = False

    def checkpoint_if_due(self) -> None:
        """Brings the write-ahead log into the file when it has grown enough; to be called in the queue."""
        if self._wal_pages > _CHECKPOINT_PAGES:
            self.connect().wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._wal_pages = 0

    def _connect(self) -> Any:
        connection: Any = apsw.Connection(self.path)
        try:
            connection.set_busy_timeout(_FOREIGN_WRITER_TIMEOUT_MS)
            self._migrate(connection)
            return self._set_up(connection)
        except BaseException:
            connection.close()
            raise

    def _set_up(self, connection: Any) -> Any:
        connection.execute(f"PRAGMA synchronous={self._synchronous}; PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA wal_autocheckpoint=0; PRAGMA temp_store=MEMORY")
        connection.set_wal_hook(self._after_commit)
        self._inode = os.stat(self.path).st_ino
        self._opened += 1
        self._connection = connection
        return connection

    def _migrate(self, connection: Any) -> None:
        version = _schema_of(connection)
        if version > migrate.latest():
            raise too_new(self.path, version, migrate.latest())
        if version == migrate.latest():
            return
        connection.execute(f"PRAGMA page_size={_PAGE_SIZE}; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            for number, script in migrate.scripts_after(version):
                connection.execute(script)
                connection.execute(f"PRAGMA user_version={number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _after_commit(self, connection: Any, name: str, pages: int) -> int:
        self._wal_pages = pages
        self._commits += 1
        return 0


def _schema_of(connection: Any) -> int:
    return connection.execute("PRAGMA user_version").fetchall()[0][0]
