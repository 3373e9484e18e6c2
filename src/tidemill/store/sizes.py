"""How large a database is, told without going through all of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from tidemill.store.database import Database

Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

# A million are counted in about 50 ms.
_MOST_COUNTED = 1_000_000
_LARGE_TABLES = ("flow_run", "flow_run_state", "task_run", "log", "event", "change", "artifact", "cache")


class RowCount(msgspec.Struct, frozen=True):
    """The rows of a table; where they are too many to count, `exact` is false and there are at least so many."""

    rows: int
    exact: bool


def row_counts(fetch: Fetch, most_counted: int = _MOST_COUNTED) -> dict[str, RowCount]:
    """The rows of each table that may become large."""
    return {table: _rows_of(fetch, table, most_counted) for table in _LARGE_TABLES}


def database_bytes(fetch: Fetch, database: Database) -> int:
    """What the database takes of its disk."""
    if database.kind != "sqlite":
        return fetch("SELECT pg_database_size(current_database())", ())[0][0]
    size = 0
    for path in (database.path, f"{database.path}-wal"):
        with suppress(FileNotFoundError):
            size += os.path.getsize(path)
    return size


def _rows_of(fetch: Fetch, table: str, most: int) -> RowCount:
    counted = fetch(f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT ?) AS part", (most + 1,))[0][0]
    return RowCount(min(counted, most), counted <= most)
