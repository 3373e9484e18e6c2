"""Saved searches: conditions under a name. Each function reads, or runs inside its caller's transaction."""

from __future__ import annotations

from typing import Any

import msgspec

from tidemill import clock, ids
from tidemill.filters import FIRST_PAGE, Page
from tidemill.side_records import NewSavedSearch, SavedSearch, SavedSearchFilter
from tidemill.store import rows
from tidemill.store.filtering import Condition
from tidemill.store.rows import Execute, Fetch

_COLUMNS = "id, name, filters, created, updated"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[SavedSearchFilter]).decode


def keep(execute: Execute, search: NewSavedSearch, now: int) -> tuple[SavedSearch, bool]:
    """Keeps a search instead of the one of its name, if there is one; says whether there was none."""
    new = ids.to_bytes(ids.new_id())
    sql = (
        f"INSERT INTO saved_search ({_COLUMNS}) VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE "
        f"SET filters = excluded.filters, updated = excluded.updated RETURNING {_COLUMNS}"
    )
    row = execute(sql, (new, search.name, _encode(search.filters).decode(), now, now)).fetchall()[0]
    return _to_search(row), row[0] == new


def saved_search(fetch: Fetch, search_id: str) -> SavedSearch | None:
    """The search of this id."""
    found = fetch(f"SELECT {_COLUMNS} FROM saved_search WHERE id = ?", (ids.to_bytes(search_id),))
    return _to_search(found[0]) if found else None


def saved_searches(fetch: Fetch, page: Page = FIRST_PAGE) -> list[SavedSearch]:
    """All of them, by name."""
    found = rows.select(fetch, f"{_COLUMNS} FROM saved_search", Condition("TRUE"), "name", page)
    return [_to_search(row) for row in found]


def delete(execute: Execute, search_id: str) -> bool:
    """Removes a search; False if there is none."""
    return rows.delete(execute, "saved_search", Condition("id = ?", (ids.to_bytes(search_id),)))


def _to_search(row: tuple[Any, ...]) -> SavedSearch:
    id, name, filters, created, updated = row
    return SavedSearch(
        id=ids.from_bytes(id),
        name=name,
        filters=_decode(filters),
        created=clock.to_datetime(created),
        updated=clock.to_datetime(updated),
    )
