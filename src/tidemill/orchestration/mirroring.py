"""A subflow run as its parent sees it: the task run that stands for it there has the same states."""

from __future__ import annotations

from typing import Any

from tidemill import clock
from tidemill.orchestration.proposing import fetching
from tidemill.states import DEFAULT_NAMES, ResultReference, State, StateDetails
from tidemill.store import entries, reading, recording, writing


def mirror(execute: writing.Execute, flow_run_id: str, task_run_id: str, state: State[Any]) -> None:
    """Gives the task run that stands for a flow run one more state, unless the parent's own process records it."""
    entry = entries.task_run_entry(fetching(execute), task_run_id)
    if entry is None:
        return
    if entry.flow_run_id is not None:
        _, _, lease = reading.holds(fetching(execute), [entry.flow_run_id])[entry.flow_run_id]
        if lease is not None:
            return
    name = None if state.name == DEFAULT_NAMES[state.type] else state.name
    entry.progress = entry.progress.then(state.type, name, state.message, clock.from_datetime(state.timestamp))
    entry.details = StateDetails(child_flow_run_id=flow_run_id, scheduled_time=state.state_details.scheduled_time)
    entry.result = state.data if isinstance(state.data, ResultReference) else None
    recording.write_task_runs(execute, [entry])
