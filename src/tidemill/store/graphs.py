"""What a page draws of a flow run: its task runs and subflow runs, and which of them followed from which."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from tidemill import ids
from tidemill.states import StateType
from tidemill.store.rows import Fetch

CALLERS = "__parents__"
_decode_inputs = msgspec.json.Decoder(dict[str, list[dict[str, Any]]]).decode


class Node(NamedTuple):
    """A task run, or the subflow run that it stands for. Times are microseconds.

    `parents` are the ids of the task runs whose results it was given, `callers` those of the task runs in which it was called.
    """

    id: str
    task_run_id: str
    is_flow_run: bool
    label: str
    state_type: StateType
    start_time: int
    end_time: int | None
    parents: tuple[str, ...]
    callers: tuple[str, ...]


def nodes(fetch: Fetch, flow_run_id: str, since: int, most: int) -> list[Node]:
    """What a flow run consists of so far, by the time of its beginning, at most so many; of what has ended, only what ended
    after `since`."""
    sql = (
        "SELECT task_run.id, task_run.name, task_run.state_type, coalesce(task_run.start_time, task_run.created), "
        "task_run.end_time, task_run.task_inputs, subflow.id, subflow.name, subflow.state_type, "
        "coalesce(subflow.start_time, subflow.expected_start_time), subflow.end_time, flow.name "
        "FROM task_run LEFT JOIN flow_run AS subflow ON subflow.parent_task_run_id = task_run.id "
        "LEFT JOIN flow ON flow.id = subflow.flow_id "
        "WHERE task_run.flow_run_id = ? AND task_run.state_type <> 'PENDING' "
        "AND (task_run.end_time IS NULL OR task_run.end_time >= ?) ORDER BY 4, task_run.id LIMIT ?"
    )
    return [_to_node(row) for row in fetch(sql, (ids.to_bytes(flow_run_id), since, most))]


def _to_node(row: tuple[Any, ...]) -> Node:
    task_run, name, type, start, end, inputs, subflow, subflow_name, subflow_type, subflow_start, subflow_end, flow = row
    parents, callers = sources(inputs)
    task_run_id = ids.from_bytes(task_run)
    if subflow is None:
        return Node(task_run_id, task_run_id, False, name, StateType(type), start, end, parents, callers)
    label = f"{flow} / {subflow_name}"
    type = StateType(subflow_type)
    return Node(ids.from_bytes(subflow), task_run_id, True, label, type, subflow_start, subflow_end, parents, callers)


def sources(inputs: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """From the inputs of a task run, as they are recorded: the ids of those whose results it was given, and of those in which
    it was called."""
    given: dict[str, None] = {}
    called: dict[str, None] = {}
    for parameter, given_by in _decode_inputs(inputs).items():
        for source in given_by:
            if "id" in source:
                (called if parameter == CALLERS else given)[str(source["id"])] = None
    return tuple(given), tuple(called)
