"""The hot half of the write path: what a run's own process records of its task runs and logs, in as few steps as can be.

Each statement takes many rows, in a few fixed sizes so that it is prepared once. Fewer steps are not only faster: SQLite's
driver gives up Python's global lock at every step and, beside a busy thread, waits up to 5 ms to get it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from tidemill.ids import from_bytes, to_bytes
from tidemill.records import Batch, LogEntry, Refusals, TaskRunEntry, add_refusal
from tidemill.store import changes

if TYPE_CHECKING:
    from tidemill.protocol import LogRow, TaskRunRow

Execute = Callable[[str, Sequence[Any]], Any]

# A flow run: its id, its current attempt, the lease that holds it, and its state's type.
_Holder = tuple[bytes, int, bytes | None, str]

_encode = msgspec.json.Encoder().encode
_SIZES = (256, 64, 16, 8, 4, 3, 2, 1)
_MOST_IDS_A_QUERY = 500

_TASK_RUN_COLUMNS = (
    "id",
    "flow_run_id",
    "attempt",
    "name",
    "task_key",
    "dynamic_key",
    "task_version",
    "run_count",
    "state_type",
    "state_name",
    "history",
    "details",
    "tags",
    "task_inputs",
    "empirical_policy",
    "input_hash",
    "cache_key",
    "created",
    "start_time",
    "end_time",
    "total_run_time",
    "result_serializer",
    "result",
    "result_key",
    "lease_id",
)
_LOG_COLUMNS = ("flow_run_id", "task_run_id", "level", "timestamp", "name", "message")
_NO_RESULT = (None, None, None)
_NO_LEASES: dict[str | None, bytes] = {}
_FIXED_AT_CREATION = frozenset({"id", "flow_run_id", "task_key", "dynamic_key", "created"})


def record(execute: Execute, batch: Batch) -> Refusals:
    """Writes a batch, inside the caller's transaction; writing it again changes nothing.

    Returns:
        The flow runs whose entries were refused, with the reason: another attempt holds the run now, or it is gone.
    """
    wanted = {entry.flow_run_id for entry in batch.task_runs} | {entry[0] for entry in batch.logs}
    wanted.discard(None)
    known = _holders(execute, wanted)  # type: ignore[arg-type]
    leases = {to_bytes(lease) for lease in batch.leases}
    refused: Refusals = {}
    task_runs: list[TaskRunEntry] = []
    named: set[str] = set()
    for entry in batch.task_runs:
        if entry.lease_id is not None:
            named.add(entry.lease_id)
        reason = _refusal(execute, entry, known, leases)
        if reason is None:
            task_runs.append(entry)
        else:
            add_refusal(refused, entry.flow_run_id, entry.attempt, reason)  # type: ignore[arg-type]
    blobs: dict[str | None, bytes | None] = {None: None}
    for run_id, holder in known.items():
        blobs[run_id] = holder[0]
    _write_task_runs(execute, task_runs, blobs, _recorded_leases(execute, named) if named else _NO_LEASES)
    logs = [entry for entry in batch.logs if entry[0] is None or entry[0] in known]
    _insert(execute, _log_statement, (_log_row(entry, blobs) for entry in logs), len(logs))
    changes.note_recorded(execute, [entry.id for entry in task_runs], len(logs))
    return refused


def write_rows(execute: Execute, task_runs: Sequence[TaskRunRow], logs: Sequence[LogRow]) -> None:
    """Writes task runs and logs that come as rows from another database; of a task run the longer story wins."""
    insert_rows(execute, task_runs, logs)
    changes.note_recorded(execute, [from_bytes(row.id) for row in task_runs], len(logs))


def insert_rows(execute: Execute, task_runs: Sequence[TaskRunRow], logs: Sequence[LogRow]) -> None:
    """The same, but nobody who follows the changes is to know: who wrote them has them."""
    _insert(execute, _task_run_statement, iter(task_runs), len(task_runs))
    _insert(execute, _log_statement, iter(logs), len(logs))


def write_task_runs(execute: Execute, entries: Sequence[TaskRunEntry]) -> None:
    """Writes task runs whoever holds their flow runs; for corrections, inside the transaction that has read them."""
    blobs: dict[str | None, bytes | None] = {None: None}
    blobs.update((run, to_bytes(run)) for run in {entry.flow_run_id for entry in entries} if run)
    _write_task_runs(execute, entries, blobs, _NO_LEASES)
    changes.note(execute, task_runs=[entry.id for entry in entries])


def _write_task_runs(
    execute: Execute, entries: Sequence[TaskRunEntry], blobs: dict[str | None, bytes | None], leases: dict[str | None, bytes]
) -> None:
    _insert(execute, _task_run_statement, (_task_run_row(entry, blobs, leases) for entry in entries), len(entries))


def _recorded_leases(execute: Execute, named: set[str]) -> dict[str | None, bytes]:
    """Those of the leases under which task runs outside flows execute that are there still."""
    blobs = ((lease, to_bytes(lease)) for lease in named)
    return {lease: blob for lease, blob in blobs if _has_lease(execute, {blob})}


def _holders(execute: Execute, flow_run_ids: Iterable[str]) -> dict[str, _Holder]:
    """How each flow run that exists is held."""
    found: dict[str, _Holder] = {}
    wanted = list(flow_run_ids)
    for start in range(0, len(wanted), _MOST_IDS_A_QUERY):
        part = wanted[start : start + _MOST_IDS_A_QUERY]
        by_blob = {to_bytes(run_id): run_id for run_id in part}
        for holder in execute(_holders_statement(len(part)), tuple(by_blob)):
            found[by_blob[holder[0]]] = holder
    return found


def _refusal(execute: Execute, entry: TaskRunEntry, known: dict[str, _Holder], leases: set[bytes]) -> str | None:
    if entry.flow_run_id is None:
        return None
    holder = known.get(entry.flow_run_id)
    if holder is None:
        return "the flow run was deleted"
    _, attempt, held_by, type = holder
    if attempt != entry.attempt:
        return f"attempt {attempt} of the flow run has taken over from attempt {entry.attempt}"
    if held_by is not None and held_by not in leases:
        return "another process holds the flow run"
    if type == "CRASHED":
        return "the flow run was declared crashed"
    if type == "CANCELLED" and not _has_lease(execute, leases):  # else it is its own process that finishes late
        return "the flow run was cancelled"
    return None


def _has_lease(execute: Execute, leases: set[bytes]) -> bool:
    return bool(execute(_lease_statement(len(leases)), tuple(leases)).fetchall())


def _task_run_row(
    entry: TaskRunEntry, blobs: dict[str | None, bytes | None], leases: dict[str | None, bytes]
) -> tuple[Any, ...]:
    progress = entry.progress
    serializer, inline, storage_key = entry.result or _NO_RESULT
    return (
        to_bytes(entry.id),
        blobs[entry.flow_run_id],
        entry.attempt,
        entry.name,
        entry.task_key,
        entry.dynamic_key,
        entry.task_version,
        progress.run_count,
        progress.type.value,
        progress.name,
        _encode(progress.history).decode(),
        None if entry.details is None else _encode(entry.details).decode(),
        entry.tags,
        entry.task_inputs,
        entry.policy,
        entry.input_hash,
        entry.cache_key,
        entry.created,
        progress.start_time,
        progress.end_time,
        progress.total_run_time,
        serializer,
        inline,
        storage_key,
        leases.get(entry.lease_id) if progress.end_time is None else None,
    )


def _log_row(entry: LogEntry, blobs: dict[str | None, bytes | None]) -> tuple[Any, ...]:
    flow_run_id, task_run_id, level, timestamp, name, message = entry
    task_blob = blobs.get(task_run_id)
    if task_blob is None and task_run_id is not None:
        task_blob = blobs[task_run_id] = to_bytes(task_run_id)
    return blobs[flow_run_id], task_blob, level, timestamp, name, message


def _insert(execute: Execute, statement: Callable[[int], str], rows: Iterator[tuple[Any, ...]], count: int) -> None:
    for size in _SIZES:
        while count >= size:
            bindings: list[Any] = []
            for _ in range(size):
                bindings += next(rows)
            execute(statement(size), bindings)
            count -= size


@cache
def _holders_statement(count: int) -> str:
    marks = ",".join("?" * count)
    return f"SELECT id, attempt, lease_id, state_type FROM flow_run WHERE id IN ({marks}) /*postgres: ORDER BY id FOR SHARE */"


@cache
def _lease_statement(count: int) -> str:
    return f"SELECT 1 FROM lease WHERE id IN ({','.join('?' * count)}) LIMIT 1 /*postgres: FOR KEY SHARE */"


@cache
def _task_run_statement(rows: int) -> str:
    changes = ", ".join(f"{name} = excluded.{name}" for name in _TASK_RUN_COLUMNS if name not in _FIXED_AT_CREATION)
    # A parent process and its child may both record a run: the longer story wins, whoever writes last.
    newer = "length(excluded.history) >= length(task_run.history)"
    # Outside a flow there is no other attempt to protect: what others took for lost and its process has gone on with is as
    # that process says.
    back = (
        "(task_run.flow_run_id IS NULL AND task_run.state_type = 'CRASHED' "
        "AND (excluded.end_time IS NOT NULL OR excluded.lease_id IS NOT NULL))"
    )
    return f"{_values('task_run', _TASK_RUN_COLUMNS, rows)} ON CONFLICT (id) DO UPDATE SET {changes} WHERE {newer} OR {back}"


@cache
def _log_statement(rows: int) -> str:
    return _values("log", _LOG_COLUMNS, rows)


def _values(table: str, columns: Sequence[str], rows: int) -> str:
    row = f"({','.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {','.join([row] * rows)}"
