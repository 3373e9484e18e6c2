"""Flows: created, changed and removed, each inside its caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tidemill.ids import from_bytes, new_id, to_bytes
from tidemill.store import rows
from tidemill.store.filtering import Condition
from tidemill.store.rows import Execute, Fetch

_encode = msgspec.json.Encoder().encode


def create(execute: Execute, name: str, tags: Sequence[str], labels: Mapping[str, Any], now: int) -> bool:
    """Creates the flow of this name; False if there is one, which stays as it is."""
    made = execute(
        "INSERT INTO flow (id, name, tags, labels, created, updated) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (name) DO NOTHING RETURNING 1",
        (to_bytes(new_id()), name, _json(tags), _json(labels), now, now),
    )
    return bool(made.fetchall())


def change(execute: Execute, flow_id: str, columns: Mapping[str, Any], now: int) -> bool:
    """Gives a flow other tags or labels; False if there is none of this id."""
    texts = {name: _json(value) for name, value in columns.items()}
    return rows.change(execute, "flow", {**texts, "updated": now}, _of_id(flow_id))


def record_parameters(execute: Execute, flow_id: bytes, schema: str) -> None:
    """Keeps what a flow takes, as a JSON schema; one that is the same is left alone."""
    execute(
        "UPDATE flow SET parameter_schema = ? WHERE id = ? AND parameter_schema IS DISTINCT FROM ?", (schema, flow_id, schema)
    )


def recorded_parameters(fetch: Fetch, flow_id: str) -> str | None:
    """What a flow takes, as a JSON schema; None if that is not known."""
    rows = fetch("SELECT parameter_schema FROM flow WHERE id = ?", (to_bytes(flow_id),))
    return rows[0][0] if rows else None


def delete(execute: Execute, flow_id: str) -> bool:
    """Removes a flow that has no runs; False if there is none of this id."""
    return rows.delete(execute, "flow", _of_id(flow_id))


def runs(execute: Execute, flow_id: str) -> list[str]:
    """The ids of a flow's runs."""
    return [from_bytes(row[0]) for row in execute("SELECT id FROM flow_run WHERE flow_id = ?", (to_bytes(flow_id),)).fetchall()]


def _of_id(flow_id: str) -> Condition:
    return Condition("id = ?", (to_bytes(flow_id),))


def _json(value: Any) -> str:
    return _encode(value).decode()
