"""Task runs as they are written, read back whole: to resume from them, or to correct what became of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tidemill import ids
from tidemill.records import Progress, Step, TaskRunEntry
from tidemill.states import ResultReference, StateDetails, StateType

Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

_COLUMNS = (
    "id, flow_run_id, attempt, name, task_key, dynamic_key, task_version, run_count, state_type, state_name, history, "
    "details, tags, task_inputs, empirical_policy, input_hash, cache_key, created, start_time, end_time, total_run_time, "
    "result_serializer, result, result_key, lease_id"
)
_MOST_IDS_A_QUERY = 500
_TYPES = {type.value: type for type in StateType}
_decode_history = msgspec.json.Decoder(tuple[Step, ...]).decode
_decode_details = msgspec.json.Decoder(StateDetails).decode


def task_run_entries(fetch: Fetch, flow_run_id: str) -> list[TaskRunEntry]:
    """Every task run of a flow run, in the order of their ids."""
    sql = f"SELECT {_COLUMNS} FROM task_run WHERE flow_run_id = ? ORDER BY id"
    return [_to_entry(row, flow_run_id) for row in fetch(sql, (ids.to_bytes(flow_run_id),))]


def unfinished_task_runs(fetch: Fetch, flow_run_id: str) -> list[TaskRunEntry]:
    """The task runs of a flow run that have not ended."""
    sql = f"SELECT {_COLUMNS} FROM task_run WHERE flow_run_id = ? AND end_time IS NULL ORDER BY id"
    return [_to_entry(row, flow_run_id) for row in fetch(sql, (ids.to_bytes(flow_run_id),))]


def task_run_entry(fetch: Fetch, task_run_id: str) -> TaskRunEntry | None:
    """The task run of this id."""
    rows = fetch(f"SELECT {_COLUMNS} FROM task_run WHERE id = ?", (ids.to_bytes(task_run_id),))
    if not rows:
        return None
    flow_run = rows[0][1]
    return _to_entry(rows[0], ids.from_bytes(flow_run) if flow_run else None)


def task_run_entries_by_id(fetch: Fetch, task_run_ids: Sequence[str]) -> dict[str, TaskRunEntry]:
    """Those task runs of these ids that exist, by their ids."""
    found: dict[str, TaskRunEntry] = {}
    for start in range(0, len(task_run_ids), _MOST_IDS_A_QUERY):
        part = [ids.to_bytes(task_run_id) for task_run_id in task_run_ids[start : start + _MOST_IDS_A_QUERY]]
        for row in fetch(f"SELECT {_COLUMNS} FROM task_run WHERE id IN ({','.join('?' * len(part))})", part):
            entry = _to_entry(row, ids.from_bytes(row[1]) if row[1] else None)
            found[entry.id] = entry
    return found


def held_task_runs(fetch: Fetch, lease_id: str) -> list[TaskRunEntry]:
    """The task runs outside flows that a lease holds, in the order of their ids."""
    sql = f"SELECT {_COLUMNS} FROM task_run WHERE lease_id = ? ORDER BY id"
    return [_to_entry(row, None) for row in fetch(sql, (ids.to_bytes(lease_id),))]


def _to_entry(row: tuple[Any, ...], flow_run_id: str | None) -> TaskRunEntry:
    id, _, attempt, name, task_key, dynamic_key, version, run_count, type, state_name, history, details, *rest = row
    tags, task_inputs, policy, input_hash, cache_key, created, start, end, total, serializer, inline, key, lease = rest
    return TaskRunEntry(
        ids.from_bytes(id),
        flow_run_id,
        attempt,
        name,
        task_key,
        dynamic_key,
        tags,
        policy,
        created,
        Progress(_TYPES[type], state_name, _decode_history(history), run_count, start, end, total),
        version,
        task_inputs,
        None if details is None else _decode_details(details),
        input_hash,
        cache_key,
        None if serializer is None else ResultReference(serializer, inline, key),
        None if lease is None else ids.from_bytes(lease),
    )
