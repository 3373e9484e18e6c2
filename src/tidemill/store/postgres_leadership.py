"""The lead of several servers on one PostgreSQL: an advisory lock, which ends with the connection that has it."""

from __future__ import annotations

import psycopg

from tidemill.settings import DatabaseLimits
from tidemill.store.postgres_connections import Connection, connect
from tidemill.store.postgres_errors import plain_errors

# Any number that nothing else in this database uses as a lock, with one that tells our schema from others in it.
_KEY = f"{int.from_bytes(b'tide')}, ('lease'::regclass::oid::bigint % 2147483647)::int"
_TAKE = f"SELECT pg_try_advisory_lock({_KEY})".encode()
_GIVE_BACK = f"SELECT pg_advisory_unlock({_KEY})".encode()


class OnPostgres:
    """A claim on a connection of its own, since the lock is the connection's."""

    def __init__(self, url: str, limits: DatabaseLimits) -> None:
        self._url = url
        self._limits = limits
        self._connection: Connection | None = None
        self._leads = False

    def hold(self) -> bool:
        """See `Leadership.hold`."""
        with plain_errors(self._url):
            try:
                connection = self._connection = self._connection or connect(self._url, self._limits, durability="process")
                if self._leads:
                    connection.execute(b"SELECT 1")  # if the connection has gone, so has the lock
                else:
                    self._leads = bool(connection.execute(_TAKE).fetchall()[0][0])
            except psycopg.Error:
                self.release()
                raise
        return self._leads

    def release(self) -> None:
        """See `Leadership.release`."""
        (connection, leads), self._connection, self._leads = (self._connection, self._leads), None, False
        if connection is None:
            return
        try:
            if leads:  # so that the next can have it at once, and not when the server notices that this one has gone
                connection.execute(_GIVE_BACK)
        except psycopg.Error:
            pass
        finally:
            connection.close()
