"""The tables in PostgreSQL: brought to the newest schema, to their place in this cluster, and looked over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tidemill.store import migrate
from tidemill.store.postgres_connections import Connection
from tidemill.store.postgres_errors import too_new

Execute = Callable[[str, Sequence[Any]], Any]
Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

# Whoever migrates holds the lock of this number, for the schema of this name.
_LOCK = 0x7DE
_CLUSTER = "SELECT system_identifier::text FROM pg_control_system()"
_MIGRATIONS = b"""CREATE TABLE IF NOT EXISTS migration (
    number BIGINT PRIMARY KEY,
    applied TIMESTAMPTZ NOT NULL DEFAULT now()
)"""


def bring_up(connection: Connection, path: str) -> None:
    """Migrates the database to the newest schema, unless it is there; only one process does.

    Raises:
        StoreTooNew: the schema is of a newer version.
        psycopg.Error: it cannot be done; then nothing was changed.
    """
    if _is_ready(connection, path):
        return
    connection.execute(b"BEGIN")
    try:
        for setting in (b"SET LOCAL statement_timeout = 0", b"SET LOCAL lock_timeout = 0"):
            connection.execute(setting)
        connection.execute(b"SELECT pg_advisory_xact_lock($1::int, hashtext(current_schema()))", (_LOCK,))
        if not _is_ready(connection, path):
            _migrate(connection)
            _settle(connection)
        connection.execute(b"COMMIT")
    except BaseException:
        if not connection.closed:
            connection.execute(b"ROLLBACK")
        raise


def version_of(connection: Connection) -> int:
    """The number of the last migration that the database has had; 0 for a database without tables."""
    if connection.execute(b"SELECT to_regclass('migration') IS NULL").fetchall()[0][0]:
        return 0
    return connection.execute(b"SELECT coalesce(max(number), 0) FROM migration").fetchall()[0][0]


def move_on(execute: Execute) -> None:
    """Lets what is written from now on be numbered after everything that is there; inside a transaction."""
    numbered = " UNION ALL ".join(f"SELECT max(seq) AS seq FROM {table}" for table in ("change", "log", "event"))
    last, now = execute(f"SELECT max(seq), pg_current_xact_id()::text::bigint FROM ({numbered}) AS x", ()).fetchall()[0]
    execute(_constant("origin", "BIGINT", f"{max(0, ((last or 0) >> 20) + 1 - now)}::bigint"), ())


def problems(fetch: Fetch) -> list[str]:
    """What is wrong with the tables, in words."""
    invalid = "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE NOT indisvalid "
    found = [
        f"The index {row[0]} is not valid; rebuild it: REINDEX INDEX {row[0]}"
        for row in fetch(f"{invalid} AND relnamespace = current_schema()::regnamespace", ())
    ]
    stateless = fetch(
        "SELECT count(*) FROM flow_run WHERE NOT EXISTS (SELECT 1 FROM flow_run_state WHERE flow_run_id = flow_run.id)", ()
    )[0][0]
    if stateless:
        found.append(f"{stateless} flow runs have no state.")
    return found


def _is_ready(connection: Connection, path: str) -> bool:
    version = version_of(connection)
    if version > migrate.latest():
        raise too_new(path, version, migrate.latest())
    return version == migrate.latest() and _is_at_home(connection)


def _is_at_home(connection: Connection) -> bool:
    """Whether the numbers of rows were made in this cluster, and not before the database was moved here from another."""
    return connection.execute(f"SELECT cluster() = ({_CLUSTER})".encode()).fetchall()[0][0]


def _migrate(connection: Connection) -> None:
    connection.execute(_MIGRATIONS)
    for number, script in migrate.scripts_after(version_of(connection), "postgres"):
        connection.execute(script.encode())
        connection.execute(b"INSERT INTO migration (number) VALUES ($1)", (number,))


def _settle(connection: Connection) -> None:
    move_on(lambda sql, bindings: connection.execute(sql.encode(), bindings))
    cluster = connection.execute(_CLUSTER.encode()).fetchall()[0][0]
    connection.execute(_constant("cluster", "TEXT", f"'{cluster}'::text").encode())


def _constant(name: str, type: str, value: str) -> str:
    """A function for a value: PostgreSQL puts it in its place when it plans a statement, so that it costs nothing."""
    return f"CREATE OR REPLACE FUNCTION {name}() RETURNS {type} LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT {value} $$"
