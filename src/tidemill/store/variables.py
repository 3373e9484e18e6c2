"""Variables: values under a name, for whoever asks. Each function reads, or runs inside its caller's transaction."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from tidemill import clock, ids
from tidemill.filters import FIRST_PAGE, Page, VariableFilter, VariableSort
from tidemill.side_records import NewVariable, Variable, VariableChange
from tidemill.store import rows
from tidemill.store.filtering import Condition, variable_condition
from tidemill.store.ordering import VARIABLE_ORDER
from tidemill.store.rows import Execute, Fetch

_COLUMNS = "variable.id, variable.name, variable.value, variable.tags, variable.created, variable.updated"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decode_tags = msgspec.json.Decoder(list[str]).decode


def of_id(variable_id: str) -> Condition:
    """The variable of this id."""
    return Condition("variable.id = ?", (ids.to_bytes(variable_id),))


def of_name(name: str) -> Condition:
    """The variable of this name."""
    return Condition("variable.name = ?", (name,))


def create(execute: Execute, new: NewVariable, now: int) -> Variable | None:
    """Creates a variable at the time `now` (microseconds); None if there is one of its name."""
    sql = (
        "INSERT INTO variable (id, name, value, tags, created, updated) VALUES (?, ?, ?, ?, ?, ?) "
        f"ON CONFLICT (name) DO NOTHING RETURNING {_COLUMNS}"
    )
    values = (ids.to_bytes(ids.new_id()), new.name, _encode(new.value).decode(), _encode(new.tags).decode(), now, now)
    made = execute(sql, values).fetchall()
    return _to_variable(made[0]) if made else None


def variable(fetch: Fetch, which: Condition) -> Variable | None:
    """The variable `of_id` or `of_name`."""
    found = fetch(f"SELECT {_COLUMNS} FROM variable WHERE {which.sql}", which.bindings)
    return _to_variable(found[0]) if found else None


def variables(
    fetch: Fetch, filter: VariableFilter | None = None, sort: VariableSort = VariableSort.NAME_ASC, page: Page = FIRST_PAGE
) -> list[Variable]:
    found = rows.select(fetch, f"{_COLUMNS} FROM variable", variable_condition(filter), VARIABLE_ORDER[sort], page)
    return [_to_variable(row) for row in found]


def count_variables(fetch: Fetch, filter: VariableFilter | None = None) -> int:
    return rows.count(fetch, "variable", variable_condition(filter))


def change(execute: Execute, which: Condition, changed: VariableChange, now: int) -> bool:
    """Changes a variable; False if there is none. The new name must be free (`is_taken`)."""
    columns: dict[str, Any] = {"updated": now}
    if changed.name is not None:
        columns["name"] = changed.name
    if changed.value is not UNSET:
        columns["value"] = _encode(changed.value).decode()
    if changed.tags is not None:
        columns["tags"] = _encode(changed.tags).decode()
    return rows.change(execute, "variable", columns, which)


def is_taken(execute: Execute, name: str, which: Condition) -> bool:
    """Whether another variable has this name."""
    sql = f"SELECT 1 FROM variable WHERE name = ? AND NOT ({which.sql})"
    return bool(execute(sql, (name, *which.bindings)).fetchall())


def delete(execute: Execute, which: Condition) -> bool:
    """Removes a variable; False if there is none."""
    return rows.delete(execute, "variable", which)


def _to_variable(row: tuple[Any, ...]) -> Variable:
    id, name, value, tags, created, updated = row
    return Variable(
        id=ids.from_bytes(id),
        name=name,
        value=_decode(value),
        tags=_decode_tags(tags),
        created=clock.to_datetime(created),
        updated=clock.to_datetime(updated),
    )
