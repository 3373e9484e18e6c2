"""Runs that ended long ago, and how they are removed: in parts, since one run may have a million task runs.

Each function runs inside its caller's transaction. Times are microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tidemill.ids import from_bytes
from tidemill.store import changes, writing
from tidemill.store.rows import Execute

_FAMILIES_A_QUERY = 50
_MOST_IDS_A_QUERY = 500


class Removed(NamedTuple):
    """What was removed: how many rows, and the keys of result files that it had. `whole`: nothing of the run is left."""

    task_runs: int
    logs: int
    keys: list[str]
    whole: bool

    @property
    def rows(self) -> int:
        return self.task_runs + self.logs + self.whole


def old_families(execute: Execute, before: int) -> Iterator[list[bytes]]:
    """Flow runs that nobody called, with all those called in them, if all of these ended before a time; the one that ended
    first comes first. In a family, who called the others comes last."""
    place = (-(2**62), b"")
    while True:
        oldest = execute(
            "SELECT run.end_time, run.id FROM flow_run AS run WHERE run.end_time < ? AND (run.end_time, run.id) > (?, ?) "
            "AND NOT EXISTS (SELECT 1 FROM flow_run AS caller WHERE caller.id = run.parent_flow_run_id) "
            "ORDER BY run.end_time, run.id LIMIT ?",
            (before, *place, _FAMILIES_A_QUERY),
        ).fetchall()
        for _, root in oldest:
            called = _called_in(execute, root)
            if all(ended is not None and ended < before for _, ended in called):
                yield [*(run for run, _ in called if run != root), root]
        if len(oldest) < _FAMILIES_A_QUERY:
            return
        place = oldest[-1]


def is_old(execute: Execute, flow_run: bytes, before: int) -> bool:
    """Whether a flow run is there and ended before a time. Then nobody begins it again until the transaction ends."""
    sql = "SELECT 1 FROM flow_run WHERE id = ? AND end_time < ? /*postgres: FOR UPDATE */"
    return bool(execute(sql, (flow_run, before)).fetchall())


def remove(execute: Execute, flow_run: bytes, most_rows: int) -> Removed:
    """Removes a flow run with all it has, or so many rows of its logs and task runs if it has more."""
    run_id = from_bytes(flow_run)
    changes.forget_last_logs(execute, run_id)
    own_logs = "SELECT seq FROM log WHERE flow_run_id = ? ORDER BY seq LIMIT ?"
    logs = len(execute(f"DELETE FROM log WHERE seq IN ({own_logs}) RETURNING 1", (flow_run, most_rows)).fetchall())
    room = most_rows - logs
    sql = "SELECT id, result_key FROM task_run WHERE flow_run_id = ? LIMIT ?"
    task_runs = execute(sql, (flow_run, room)).fetchall()
    _remove_task_runs(execute, [row[0] for row in task_runs])
    keys = [row[1] for row in task_runs if row[1] is not None]
    if len(task_runs) >= room:  # there may be more
        return Removed(len(task_runs), logs, keys, whole=False)
    keys += writing.result_keys(execute, run_id)
    return Removed(len(task_runs), logs, keys, whole=writing.delete_flow_run(execute, run_id))


def remove_outside_flows(execute: Execute, before: int, most_rows: int, *, kind: str) -> Removed:
    """Removes task runs outside flows that ended before a time, with their logs, the oldest first.

    Args:
        kind: of the database (`Database.kind`).
    """
    # SQLite takes the index of all task runs by flow run for better, and would sort them each time.
    by_age = " INDEXED BY task_run_alone" if kind == "sqlite" else ""
    newest = execute("SELECT max(seq) FROM log", ()).fetchall()[0][0]
    candidates = execute(
        f"SELECT id, result_key FROM task_run{by_age} WHERE flow_run_id IS NULL AND created < ? AND end_time < ? "
        "AND NOT EXISTS (SELECT 1 FROM flow_run WHERE flow_run.parent_task_run_id = task_run.id) ORDER BY created LIMIT ?",
        (before, before, most_rows),
    ).fetchall()
    gone: list[bytes] = []
    keys: list[str] = []
    logs = 0
    for task_run, key in candidates:
        if len(gone) + logs >= most_rows:
            break
        lines = execute("SELECT seq FROM log WHERE task_run_id = ? AND flow_run_id IS NULL", (task_run,)).fetchall()
        if (newest,) in lines:  # its number would be given again; once there is another line it can go
            continue
        logs += len(lines)
        execute("DELETE FROM log WHERE task_run_id = ? AND flow_run_id IS NULL", (task_run,))
        gone.append(task_run)
        keys += [key] if key is not None else []
    _remove_task_runs(execute, gone)
    changes.note(execute, task_runs=[from_bytes(task_run) for task_run in gone])
    return Removed(len(gone), logs, keys, whole=False)


def _called_in(execute: Execute, root: bytes) -> list[tuple[bytes, int | None]]:
    """A flow run and all that were called in it, in those, and so on: their ids, and when they ended."""
    return execute(
        "WITH RECURSIVE family (id) AS (SELECT id FROM flow_run WHERE id = ? UNION SELECT called.id FROM flow_run AS called "
        "JOIN family ON called.parent_flow_run_id = family.id) "
        "SELECT flow_run.id, flow_run.end_time FROM family JOIN flow_run ON flow_run.id = family.id",
        (root,),
    ).fetchall()


def _remove_task_runs(execute: Execute, task_runs: Sequence[bytes]) -> None:
    for part in _parts(task_runs):
        marks = ",".join("?" * len(part))
        execute(f"DELETE FROM artifact WHERE task_run_id IN ({marks})", part)
        execute(f"DELETE FROM task_run WHERE id IN ({marks})", part)


def _parts(values: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    return (values[start : start + _MOST_IDS_A_QUERY] for start in range(0, len(values), _MOST_IDS_A_QUERY))
