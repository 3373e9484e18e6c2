"""Why a flow run failed: the exception, and the task run that it came from, however deep in subflow runs that is."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from tidemill import ids
from tidemill.states import ErrorSummary, StateDetails, StateType
from tidemill.store.rows import Fetch

# So many are looked at: flow runs, and of each of them task runs that failed.
_MOST_FLOW_RUNS = 200
_MOST_TASK_RUNS = 50

_FAILED = (StateType.FAILED, StateType.CRASHED)
_FAILED_TYPES = ", ".join(f"'{type.value}'" for type in _FAILED)
_decode_details = msgspec.json.Decoder(StateDetails).decode


class Failure(msgspec.Struct, kw_only=True):
    """The exception that made a flow run fail: its type with its module, its message and its traceback as text, which is empty
    where none is known; `flow_run_id` is the flow run, or the subflow run in it, where it was raised, and the task run is the
    one of that which raised it, if it was one."""

    type: str
    message: str
    traceback: str
    task_run_id: str | None
    task_run_name: str | None
    flow_run_id: str


class _FailedRun(NamedTuple):
    """A run that failed: what is known of the exception, and else its state."""

    id: bytes
    name: str
    state_name: str
    message: str | None
    error: ErrorSummary | None


class _Origin(NamedTuple):
    """Where an exception was raised."""

    flow_run: _FailedRun
    task_run: _FailedRun | None = None

    @property
    def error(self) -> ErrorSummary | None:
        return self.task_run.error if self.task_run is not None and self.task_run.error is not None else self.flow_run.error


def failure(fetch: Fetch, flow_run_id: str) -> Failure | None:
    """Why a flow run failed; None if it has not (or is not there)."""
    run = _failed_flow_run(fetch, ids.to_bytes(flow_run_id))
    if run is None:
        return None
    origin = _Search(fetch).origin(run)
    error = run.error or origin.error
    raised_in = origin.task_run or origin.flow_run
    # Without an exception (the process was killed, or a client of the field told of it) the state says it all.
    type, message, traceback = (
        (error.type, error.message, error.traceback)
        if error is not None
        else (raised_in.state_name, raised_in.message or run.message or "", "")
    )
    return Failure(
        type=type,
        message=message,
        traceback=traceback,
        task_run_id=ids.from_bytes(origin.task_run.id) if origin.task_run is not None else None,
        task_run_name=origin.task_run.name if origin.task_run is not None else None,
        flow_run_id=ids.from_bytes(origin.flow_run.id),
    )


class _Search:
    """Looks for where exceptions come from, in so many flow runs at most."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._left = _MOST_FLOW_RUNS

    def origin(self, run: _FailedRun) -> _Origin:
        """The task run whose exception the flow run failed with; if it failed with none, the first that failed."""
        self._left -= 1
        if self._left < 0:
            return _Origin(run)
        for task_run in _failed_task_runs(self._fetch, run):
            subflow_run = _subflow_run(self._fetch, task_run.id)
            origin = _Origin(run, task_run) if subflow_run is None else self.origin(subflow_run)
            if run.error is None or _is_behind(origin.error, run.error):
                return origin
        return _Origin(run)


def _is_behind(cause: ErrorSummary | None, error: ErrorSummary) -> bool:
    """Whether one exception is another, or stands in its traceback as what it came from."""
    if cause is None:
        return False
    if (cause.type, cause.message) == (error.type, error.message):
        return True
    raised = cause.traceback.rstrip().rpartition("\n")[2]
    # A group of exceptions shows its members behind bars.
    return bool(raised) and raised in (line.lstrip(" |") for line in error.traceback.splitlines())


def _failed_flow_run(fetch: Fetch, run: bytes) -> _FailedRun | None:
    sql = (
        f"SELECT id, name, state_name FROM flow_run WHERE id = ? AND state_type IN ({_FAILED_TYPES})",
        "SELECT message, details FROM flow_run_state WHERE flow_run_id = ? ORDER BY seq DESC LIMIT 1",
    )
    found, states = (fetch(query, (run,)) for query in sql)
    if not found or not states:
        return None
    return _FailedRun(*found[0], message=states[0][0], error=_decode_details(states[0][1]).error)


def _subflow_run(fetch: Fetch, task_run: bytes) -> _FailedRun | None:
    """The subflow run that a task run stands for, if it failed."""
    rows = fetch("SELECT id FROM flow_run WHERE parent_task_run_id = ? ORDER BY id DESC LIMIT 1", (task_run,))
    return _failed_flow_run(fetch, rows[0][0]) if rows else None


def _failed_task_runs(fetch: Fetch, run: _FailedRun) -> list[_FailedRun]:
    """The task runs that failed: the last first where the flow run failed with an exception, which then is that of one of the
    last; else the first first."""
    order = "ASC" if run.error is None else "DESC"
    rows = fetch(
        "SELECT task_run.id, task_run.name, task_run.state_name, task_run.history, task_run.details FROM "
        f"(SELECT id AS run_id FROM task_run WHERE flow_run_id = ? AND state_type IN ({_FAILED_TYPES}) "
        f"ORDER BY end_time {order}, id {order} LIMIT ?) AS chosen CROSS JOIN task_run WHERE task_run.id = chosen.run_id "
        f"ORDER BY task_run.end_time {order}, task_run.id {order}",
        (run.id, _MOST_TASK_RUNS),
    )
    return [
        _FailedRun(
            id, name, state_name, msgspec.json.decode(history)[-1][2], _decode_details(details).error if details else None
        )
        for id, name, state_name, history, details in rows
    ]
