"""Copies everything from one database into another of either kind: what was recorded moves with its ids and times."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from tidemill.exceptions import StoreError
from tidemill.store import migrate
from tidemill.store.database import Database, Execute, Fetch
from tidemill.store.sqlite import SqliteDatabase

# Each after those that it refers to.
TABLES = (
    "flow",
    "lease",
    "flow_run",
    "flow_run_state",
    "task_run",
    "log",
    "cache",
    "cache_claim",
    "change",
    "event",
    "flow_run_input",
    "variable",
    "artifact",
    "saved_search",
    "concurrency_limit",
    "concurrency_lease",
    "token",
    "loop",
    "shipment",
    "journal",
    "shipped_flow_run",
)
# Above this PostgreSQL takes no more values in one statement, and SQLite half as many.
_MOST_VALUES = 30_000
_ROWS_A_READ = 1_000


def copy(source: Database, target: Database, tell: Callable[[str, int], None] = lambda table, rows: None) -> dict[str, int]:
    """Copies the source, as it is at one moment, into the target, in one transaction; the source stays as it is.

    Args:
        tell: is told of each table that has been copied, with its rows.

    Returns:
        How many rows were copied, by table.

    Raises:
        StoreError: the target is not empty, or has not all rows in the end; then nothing was copied.
    """
    if source.schema() != migrate.latest():
        raise StoreError(
            f"{source.path} has schema {source.schema()}, and what is copied has to have {migrate.latest()}. Bring it up first "
            "(tidemill db migrate), or name another database."
        )
    with source.snapshot() as fetch, target.transaction() as execute:
        _refuse_unless_empty(target, execute)
        counts: dict[str, int] = {}
        for table in TABLES:
            counts[table] = _copy_table(fetch, execute, source.kind, table)
            tell(table, counts[table])
        for table, rows in counts.items():
            found = execute(f"SELECT count(*) FROM {table}", ()).fetchall()[0][0]
            if found != rows:
                raise StoreError(f"{target.path} has {found} rows of {rows} in {table}; nothing was copied. Try again.")
        target.move_on(execute)
    return counts


def back_up(source: Database, target: str) -> None:
    """Copies a database into a new SQLite file.

    Raises:
        StoreError: there is a file of that name already, or it cannot be written.
    """
    if os.path.exists(target):
        raise StoreError(f"{target} exists already; name a file that does not.")
    database = SqliteDatabase(os.path.abspath(target))
    try:
        copy(source, database)
    finally:
        database.close()
    for left in (f"{target}.lock", f"{target}-wal", f"{target}-shm"):
        if os.path.exists(left):
            os.unlink(left)


def _refuse_unless_empty(target: Database, execute: Execute) -> None:
    for table in TABLES:
        if execute(f"SELECT 1 FROM {table} LIMIT 1", ()).fetchall():
            raise StoreError(
                f"{target.path} is not empty: there are rows in {table}. Nothing was copied; name a database without runs."
            )


def _copy_table(fetch: Fetch, execute: Execute, kind: str, table: str) -> int:
    columns, key = _columns(fetch, kind, table), _key(fetch, kind, table)
    names, order = ", ".join(columns), ", ".join(key)
    marks = ",".join("?" * len(key))
    key_at = [columns.index(column) for column in key]
    after, copied, last = "", 0, ()
    while rows := fetch(f"SELECT {names} FROM {table}{after} ORDER BY {order} LIMIT {_ROWS_A_READ}", last):
        _insert(execute, table, names, rows)
        copied += len(rows)
        last = tuple(rows[-1][at] for at in key_at)
        after = f" WHERE ({order}) > ({marks})"
    return copied


def _insert(execute: Execute, table: str, names: str, rows: Sequence[tuple[Any, ...]]) -> None:
    at_once = _MOST_VALUES // len(rows[0])
    row = f"({','.join('?' * len(rows[0]))})"
    for start in range(0, len(rows), at_once):
        part = rows[start : start + at_once]
        values = [value for values in part for value in values]
        execute(f"INSERT INTO {table} ({names}) VALUES {','.join([row] * len(part))}", values)


def _columns(fetch: Fetch, kind: str, table: str) -> list[str]:
    if kind == "sqlite":
        return [row[0] for row in fetch("SELECT name FROM pragma_table_info(?) ORDER BY cid", (table,))]
    columns = (
        "SELECT column_name::text FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND table_name = ? ORDER BY ordinal_position"
    )
    return [row[0] for row in fetch(columns, (table,))]


def _key(fetch: Fetch, kind: str, table: str) -> list[str]:
    if kind == "sqlite":
        return [row[0] for row in fetch("SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", (table,))]
    key = (
        "SELECT attname::text FROM pg_constraint CROSS JOIN unnest(conkey) WITH ORDINALITY AS part (number, place) "
        "JOIN pg_attribute ON attrelid = conrelid AND attnum = part.number "
        "WHERE contype = 'p' AND connamespace = current_schema()::regnamespace AND conrelid = ?::regclass ORDER BY place"
    )
    return [row[0] for row in fetch(key, (table,))]
