"""Connections to PostgreSQL: how one is made, what it makes of Python's values, and a few kept for the next who needs one.

A pool of our own, since a ready-made one keeps threads, which do not survive a fork, and tells of a wrong password only by
its log and a time-out.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import Buffer, Dumper
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.numeric import NumericBinaryLoader

from tidemill.exceptions import StoreError, StoreUnreachable
from tidemill.setting_kinds import database_place
from tidemill.settings import DatabaseLimits

Connection = psycopg.Connection[tuple[Any, ...]]

# From this use on a statement is prepared: those of a run come again and again, those of a search hardly do.
_PREPARED_FROM = 3
_MOST_PREPARED = 200
_SHORTEST_CONNECT_SECONDS = 2  # libpq's own
_NO_NUL = "\u2400".encode()


class _Untyped(Dumper):
    """Leaves it to PostgreSQL to see from the statement what a value is, as SQLite does: else a NULL, or a smaller number,
    in one place of a batch would make another statement of it, to be prepared anew."""

    oid = 0


class _Text(_Untyped):
    def dump(self, obj: str) -> Buffer:
        data = obj.encode()
        return data.replace(b"\0", _NO_NUL) if b"\0" in data else data  # which PostgreSQL does not keep


class _Bytes(_Untyped):
    format = pq.Format.BINARY

    def dump(self, obj: bytes) -> Buffer:
        return obj


class _Whole(_Untyped):
    def dump(self, obj: int) -> Buffer:
        return b"%d" % obj


class _Fraction(_Untyped):
    def dump(self, obj: float) -> Buffer:
        return repr(obj).encode()


class _Sum(NumericBinaryLoader):
    """Sums and averages are plain numbers, as SQLite gives them."""

    def load(self, data: Buffer) -> Any:
        number: Decimal = super().load(data)
        return int(number) if number == number.to_integral_value() else float(number)


def connect(url: str, limits: DatabaseLimits, *, durability: str) -> Connection:
    """A new connection, outside a transaction.

    Raises:
        psycopg.Error: it cannot be made.
        StoreUnreachable: the URL is wrong.
    """
    wanted = parameters(url)
    defaults: dict[str, Any] = {
        "application_name": "tidemill",
        "client_encoding": "utf8",
        "connect_timeout": max(_SHORTEST_CONNECT_SECONDS, round(limits.connect_timeout)),
        # A server that vanishes is noticed by what waits for it.
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": round(1000 * max(limits.connect_timeout, 30)),
    }
    if os.environ.get("PGCONNECT_TIMEOUT"):
        del defaults["connect_timeout"]
    connection: Connection = psycopg.connect(
        **{**defaults, **wanted}, autocommit=True, cursor_factory=psycopg.RawCursor, prepare_threshold=_PREPARED_FROM
    )
    connection.prepared_max = _MOST_PREPARED
    adapters = connection.adapters
    for type, dumper in ((str, _Text), (bytes, _Bytes), (int, _Whole), (bool, _Whole), (float, _Fraction)):
        adapters.register_dumper(type, dumper)
    adapters.register_loader("numeric", _Sum)
    connection.add_notice_handler(_ignore)
    _limit(connection, wanted.get("options", ""), limits, durability)
    return connection


def parameters(url: str) -> dict[str, Any]:
    """The parts of a URL, as libpq calls them.

    Raises:
        StoreUnreachable: libpq cannot read it.
    """
    try:
        return dict(conninfo_to_dict(url))
    except psycopg.Error as error:
        told = str(error).replace(url, database_place(url)).strip()
        raise StoreUnreachable(f"TIDEMILL_DATABASE_URL is wrong: {told}.") from None


def _limit(connection: Connection, options: str, limits: DatabaseLimits, durability: str) -> None:
    """Sets what the URL (by `options=-c name=value`) leaves open."""
    wanted = {
        "statement_timeout": round(1000 * limits.statement_timeout),
        "lock_timeout": round(1000 * limits.lock_timeout),
        # A transaction whose process hangs holds what others wait for.
        "idle_in_transaction_session_timeout": round(1000 * max(limits.statement_timeout, limits.lock_timeout)),
    }
    values = {name: f"'{value}'" for name, value in wanted.items()}
    if durability == "relaxed":
        values["synchronous_commit"] = "'off'"
    elif durability == "power":
        name = "current_setting('synchronous_commit')"
        values["synchronous_commit"] = f"CASE {name} WHEN 'off' THEN 'on' ELSE {name} END"
    calls = [f"set_config('{name}', {value}, false)" for name, value in values.items() if name not in options]
    if calls:
        connection.execute(f"SELECT {', '.join(calls)}".encode())


def _ignore(notice: object) -> None:
    """Notices are no business of the user's."""


class Connections:
    """The connections of one process: at most `most`, made when they are needed.

    Args:
        make: makes one.
    """

    def __init__(self, make: Callable[[], Connection], most: int) -> None:
        self._make = make
        self._most = max(1, most)
        self._idle: list[Connection] = []
        self._taken: list[Connection] = []
        self._being_made = 0
        self._closings = 0
        self._change = threading.Condition()

    def take(self, seconds: float) -> Connection:
        """One for this caller alone, who gives it back.

        Raises:
            StoreError: the others needed all of them for so many seconds.
            psycopg.Error: a new one cannot be made.
        """
        with self._change:
            if not self._change.wait_for(self._is_one_free, seconds):
                raise StoreError(
                    f"All {self._most} connections to the database have been in use for {seconds:g} seconds. Let fewer "
                    "threads run flows at once, or raise TIDEMILL_DATABASE_CONNECTIONS."
                )
            while self._idle:
                connection = self._idle.pop()
                if not _has_ended(connection):
                    self._taken.append(connection)
                    return connection
                connection.close()
            self._being_made += 1
            closings = self._closings
        try:
            connection = self._make()
        except BaseException:
            with self._change:
                self._being_made -= 1
                self._change.notify()
            raise
        with self._change:
            self._being_made -= 1
            if closings == self._closings:  # else everything was closed meanwhile, and so is this when it is given back
                self._taken.append(connection)
            else:
                self._change.notify()
        return connection

    def give(self, connection: Connection) -> None:
        """Back for the next; one that is broken, or in the middle of something, is closed."""
        if connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            connection.close()
        with self._change:
            if connection not in self._taken:  # everything was closed meanwhile
                connection.close()
                return
            self._taken.remove(connection)
            if not connection.closed:
                self._idle.append(connection)
            self._change.notify()

    def close(self) -> None:
        """Closes those that nobody uses; the others are closed when they are given back."""
        with self._change:
            self._closings += 1
            self._taken.clear()
            while self._idle:
                self._idle.pop().close()
            self._change.notify_all()

    def forget_after_fork(self) -> None:
        """In a forked child: drops the parent's connections. They are not closed as such, since that would tell the server;
        only this process's hold on their sockets is, so that they end with the parent."""
        for connection in self._idle + self._taken:
            forget_after_fork(connection)
        self._idle, self._taken = [], []
        self._being_made = 0
        self._change = threading.Condition()

    def _is_one_free(self) -> bool:
        return bool(self._idle) or len(self._taken) + self._being_made < self._most


# Freed, a connection would close the number of its socket, which may by then be another file's.
_of_the_parent: list[Connection] = []


def forget_after_fork(connection: Connection) -> None:
    """In a forked child: lets go of a connection of the parent's, which goes on using it."""
    _of_the_parent.append(connection)
    with suppress(OSError, psycopg.Error):
        os.close(connection.fileno())


def _has_ended(connection: Connection) -> bool:
    """Whether a connection that waits has been ended by the server: then there is something to be read."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
