"""Waiting for what others commit to PostgreSQL: by its notices, and by looking now and then."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg

from tidemill.exceptions import StoreError
from tidemill.store.postgres_connections import Connection, forget_after_fork

CHANNEL = "tidemill_change"

# A notice says that there is something; what came with it, or was not told because much came at once, is looked for: soon
# after a notice, later ever more rarely.
_SHORTEST_LOOK = 0.05
_LONGEST_LOOK = 1.0
_NEWEST = b"SELECT coalesce(max(seq), 0), settled() FROM change WHERE seq < settled()"


class Listener:
    """One reader's wait, on a connection of its own.

    Args:
        connect: makes a connection.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._bell, self._ring = os.pipe()
        self._seen = -1
        self._pause = _SHORTEST_LOOK
        self._closed = False
        self._guard = threading.Lock()
        self._is_waiting = False

    def wait(self, timeout_seconds: float) -> bool:
        """Returns True when there may be something new, False after so many seconds or when this is closed."""
        deadline = time.monotonic() + timeout_seconds
        with self._guard:
            if self._closed:
                return False
            self._is_waiting = True
        try:
            while not self._closed:
                if self._look():
                    return True
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    break
                self._pause = _SHORTEST_LOOK if self._is_told(min(left, self._pause)) else min(2 * self._pause, _LONGEST_LOOK)
        except (psycopg.Error, StoreError):
            return self._recover(deadline)
        finally:
            with self._guard:
                self._is_waiting = False
                if self._closed:
                    self._let_go()
        return False

    def close(self) -> None:
        """Ends the wait; to be called from another thread than that which waits, if one does."""
        with self._guard:
            self._closed = True
            if not self._is_waiting:
                self._let_go()
                return
        with suppress(OSError):
            os.write(self._ring, b"!")

    def forget_after_fork(self) -> None:
        """In a forked child: lets go of what is the parent's."""
        if self._connection is not None:
            forget_after_fork(self._connection)
            self._connection = None
        self._let_go()

    def _look(self) -> bool:
        """Whether there is something that was not there at the last look."""
        newest = self._connected().execute(_NEWEST, binary=True).fetchall()[0][0]
        is_new = newest != self._seen
        self._seen = newest
        return is_new

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._connect()
            self._connection.execute(f"LISTEN {CHANNEL}".encode())
        return self._connection

    def _is_told(self, seconds: float) -> bool:
        """Waits for a notice; whether one came."""
        connection = self._connected()
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        poll.poll(1000 * seconds)
        connection.pgconn.consume_input()
        told = False
        while connection.pgconn.notifies() is not None:
            told = True
        return told

    def _recover(self, deadline: float) -> bool:
        """Lets go of a connection that is broken. What came meanwhile is found by the next look."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        poll = select.poll()
        poll.register(self._bell, select.POLLIN)
        poll.poll(1000 * max(0.0, min(_LONGEST_LOOK, deadline - time.monotonic())))
        return False

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        for descriptor in (self._bell, self._ring):
            with suppress(OSError):
                os.close(descriptor)
