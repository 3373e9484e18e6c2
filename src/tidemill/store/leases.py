"""Leases: which process holds which runs. Each function runs inside its caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tidemill.ids import from_bytes, to_bytes
from tidemill.records import Lease

Execute = Callable[[str, Sequence[Any]], Any]
Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

_COLUMNS = "id, pid, boot_id, hostname, acquired, deadline, process_start"


def ensure_lease(execute: Execute, lease: Lease) -> None:
    """Records a lease, if it is not recorded yet."""
    execute(
        f"INSERT INTO lease ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        (
            to_bytes(lease.id),
            lease.pid,
            lease.boot_id,
            lease.hostname,
            lease.acquired,
            lease.deadline,
            lease.process_start,
        ),
    )


def renew_lease(execute: Execute, lease_id: str, deadline: int) -> bool:
    """Moves a lease's deadline; False if the lease is no longer there."""
    rows = execute("UPDATE lease SET deadline = ? WHERE id = ? RETURNING 1", (deadline, to_bytes(lease_id))).fetchall()
    return bool(rows)


def extend_elsewhere(execute: Execute, place: str, deadline: int) -> int:
    """Moves the deadlines of processes that are not of this place to at least that time (microseconds); gives how many."""
    sql = "UPDATE lease SET deadline = ? WHERE boot_id <> ? AND deadline < ? RETURNING 1"
    return len(execute(sql, (deadline, place, deadline)).fetchall())


def delete_lease(execute: Execute, lease_id: str) -> None:
    execute("DELETE FROM lease WHERE id = ?", (to_bytes(lease_id),))


def lease(execute: Execute, lease_id: str) -> Lease | None:
    """The lease of this id. Until the end of the transaction nobody else renews or ends it."""
    rows = execute(f"SELECT {_COLUMNS} FROM lease WHERE id = ? /*postgres: FOR UPDATE */", (to_bytes(lease_id),)).fetchall()
    return _to_lease(rows[0]) if rows else None


def is_recorded(fetch: Fetch, lease_id: str) -> bool:
    """Whether a lease is there: nobody has taken its process to have ended."""
    return bool(fetch("SELECT 1 FROM lease WHERE id = ?", (to_bytes(lease_id),)))


def all_leases(fetch: Fetch) -> list[Lease]:
    """Every lease there is: one for each process that works on runs, or died while it did."""
    return [_to_lease(row) for row in fetch(f"SELECT {_COLUMNS} FROM lease", ())]


def held_flow_runs(execute: Execute, lease_id: str) -> list[str]:
    """The flow runs that a lease holds, oldest first."""
    rows = execute("SELECT id FROM flow_run WHERE lease_id = ? ORDER BY id", (to_bytes(lease_id),))
    return [from_bytes(row[0]) for row in rows]


def _to_lease(row: tuple[Any, ...]) -> Lease:
    id, pid, boot_id, hostname, acquired, deadline, process_start = row
    return Lease(
        id=from_bytes(id),
        pid=pid,
        boot_id=boot_id,
        hostname=hostname,
        acquired=acquired,
        deadline=deadline,
        process_start=process_start,
    )
