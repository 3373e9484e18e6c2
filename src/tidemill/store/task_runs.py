"""Task runs as clients of the REST API make, change and remove them, each inside its caller's transaction."""

from __future__ import annotations

from tidemill.ids import from_bytes, to_bytes
from tidemill.store import changes, rows
from tidemill.store.filtering import Condition
from tidemill.store.rows import Execute, Fetch


def id_of(fetch: Fetch, flow_run_id: str, task_key: str, dynamic_key: str) -> str | None:
    """The id of the task run of these keys in a flow run."""
    sql = "SELECT id FROM task_run WHERE flow_run_id = ? AND task_key = ? AND dynamic_key = ?"
    found = fetch(sql, (to_bytes(flow_run_id), task_key, dynamic_key))
    return from_bytes(found[0][0]) if found else None


def result_keys(fetch: Fetch, task_run_id: str) -> list[str]:
    """The key of a task run's result file, if its result is one."""
    sql = "SELECT result_key FROM task_run WHERE id = ? AND result_key IS NOT NULL"
    return [row[0] for row in fetch(sql, (to_bytes(task_run_id),))]


def change(execute: Execute, task_run_id: str, column: str, value: str) -> bool:
    """Gives a column of a task run a new value; False if there is none of this id."""
    if not rows.change(execute, "task_run", {column: value}, _of_id(task_run_id)):
        return False
    changes.note(execute, task_runs=[task_run_id])
    return True


def delete(execute: Execute, task_run_id: str) -> bool:
    """Removes a task run; its logs stay with the flow run. False if there is none of this id."""
    if not rows.delete(execute, "task_run", _of_id(task_run_id)):
        return False
    changes.note(execute, task_runs=[task_run_id])
    return True


def _of_id(task_run_id: str) -> Condition:
    return Condition("id = ?", (to_bytes(task_run_id),))
