"""The task run in the parent's flow run that stands for a subflow."""

from __future__ import annotations

from typing import Any

from tidemill import clock
from tidemill.client import Client
from tidemill.engine.context import FlowRunContext
from tidemill.engine.definitions import FlowDefinition
from tidemill.engine.inputs import input_hash, task_inputs
from tidemill.ids import new_id
from tidemill.records import Progress, TaskRunEntry
from tidemill.states import PENDING, RUNNING, State, StateDetails


class ParentTaskRun:
    """Links a subflow run to its parent, and mirrors its states. For a flow run without a parent it does nothing."""

    def __init__(self, client: Client, flow: FlowDefinition, parent: FlowRunContext | None, given: dict[str, Any]) -> None:
        self.id: str | None = None
        self._recorder = client.recorder
        self._parent = parent
        if parent is None:
            return
        now = clock.now()
        dynamic_key = parent.next_dynamic_key(flow.flow_key)
        self.id = new_id()
        self._entry = TaskRunEntry(
            id=self.id,
            flow_run_id=parent.id,
            attempt=parent.attempt,
            name=f"{flow.name}-{dynamic_key}",
            task_key=flow.flow_key,
            dynamic_key=dynamic_key,
            tags="[]",
            policy=None,
            created=now,
            progress=Progress(PENDING, "Pending", (("PENDING", None, None, now),)),
            task_inputs=task_inputs(given, parent.tracked, None),
            input_hash=input_hash(given, parent.tracked),
        )

    def follow(self, state: State[Any]) -> None:
        """Takes on a state of the subflow run; the parent is judged by the final one."""
        if self._parent is None:
            return
        entry = self._entry
        name = None if state.type is RUNNING and state.name == "Running" else state.name
        entry.details = StateDetails(child_flow_run_id=state.state_details.flow_run_id)
        entry.progress = entry.progress.then(state.type, name, state.message, clock.now())
        self._recorder.put(entry)
        if state.is_final():
            self._parent.children.append(state)
            if state.data is not None:
                self._parent.tracked.add(state.data, entry.id)
