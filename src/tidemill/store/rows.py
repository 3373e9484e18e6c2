"""Rows of one table by a condition: read page by page, counted, changed, deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tidemill.filters import Page
from tidemill.store.filtering import Condition

Execute = Callable[[str, Sequence[Any]], Any]
Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


def select(fetch: Fetch, what: str, condition: Condition, order: str, page: Page) -> list[tuple[Any, ...]]:
    """A page of the rows for which the condition is true; `what` are the columns and the tables."""
    sql = f"SELECT {what} WHERE {condition.sql} ORDER BY {order} LIMIT ? OFFSET ?"
    return fetch(sql, (*condition.bindings, *limits(page)))


def limits(page: Page) -> tuple[int, int]:
    """The values of LIMIT and OFFSET."""
    return (page.limit if page.limit is not None else 2**62, page.offset)


def count(fetch: Fetch, table: str, condition: Condition) -> int:
    """For how many rows the condition is true."""
    return fetch(f"SELECT count(*) FROM {table} WHERE {condition.sql}", condition.bindings)[0][0]


def change(execute: Execute, table: str, columns: Mapping[str, Any], condition: Condition) -> bool:
    """Gives columns new values where the condition is true; says whether it was for any row."""
    changes = ", ".join(f"{column} = ?" for column in columns)
    sql = f"UPDATE {table} SET {changes} WHERE {condition.sql} RETURNING 1"
    return bool(execute(sql, (*columns.values(), *condition.bindings)).fetchall())


def delete(execute: Execute, table: str, condition: Condition) -> bool:
    """Removes the rows for which the condition is true; says whether there were any."""
    return bool(execute(f"DELETE FROM {table} WHERE {condition.sql} RETURNING 1", condition.bindings).fetchall())
