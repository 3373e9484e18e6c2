"""Inputs that flow runs are given while they run. Each function reads, or runs inside its caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidemill import clock, ids
from tidemill.filters import Page
from tidemill.side_records import FlowRunInput, NewFlowRunInput
from tidemill.store import rows
from tidemill.store.filtering import Condition
from tidemill.store.rows import Execute, Fetch

_COLUMNS = "id, flow_run_id, key, value, sender, created"


def create(execute: Execute, flow_run_id: str, new: NewFlowRunInput, now: int) -> bool | None:
    """Gives a flow run an input; False if it has one of this key, None if there is no such flow run."""
    run = ids.to_bytes(flow_run_id)
    if not execute("SELECT 1 FROM flow_run WHERE id = ? /*postgres: FOR KEY SHARE */", (run,)).fetchall():
        return None
    made = execute(
        f"INSERT INTO flow_run_input ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (flow_run_id, key) DO NOTHING "
        "RETURNING 1",
        (ids.to_bytes(ids.new_id()), run, new.key, new.value, new.sender, now),
    )
    return bool(made.fetchall())


def value(fetch: Fetch, flow_run_id: str, key: str) -> str | None:
    """The value of the input of this key; None if there is none."""
    which = _of_key(flow_run_id, key)
    found = fetch(f"SELECT value FROM flow_run_input WHERE {which.sql}", which.bindings)
    return found[0][0] if found else None


def inputs(fetch: Fetch, flow_run_id: str, prefix: str, excluded: Sequence[str], page: Page) -> list[FlowRunInput]:
    """The inputs whose keys begin with `prefix`, but for the keys that are excluded; oldest first."""
    sql = "flow_run_id = ? AND substr(key, 1, ?) = ?"
    bindings: tuple[Any, ...] = (ids.to_bytes(flow_run_id), len(prefix), prefix)
    if excluded:
        sql += f" AND key NOT IN ({','.join('?' * len(excluded))})"
        bindings += tuple(excluded)
    condition = Condition(sql, bindings)
    found = rows.select(fetch, f"{_COLUMNS} FROM flow_run_input", condition, "created, id", page)
    return [_to_input(row) for row in found]


def delete(execute: Execute, flow_run_id: str, key: str) -> bool:
    """Removes an input; False if there is none."""
    return rows.delete(execute, "flow_run_input", _of_key(flow_run_id, key))


def _of_key(flow_run_id: str, key: str) -> Condition:
    return Condition("flow_run_id = ? AND key = ?", (ids.to_bytes(flow_run_id), key))


def _to_input(row: tuple[Any, ...]) -> FlowRunInput:
    id, flow_run_id, key, text, sender, created = row
    time = clock.to_datetime(created)
    return FlowRunInput(
        id=ids.from_bytes(id),
        flow_run_id=ids.from_bytes(flow_run_id),
        key=key,
        value=text,
        sender=sender,
        created=time,
        updated=time,
    )
