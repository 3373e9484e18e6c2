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
from tidemill.states import AWAITING_RERUN, COMPLETED, PENDING, RUNNING, State, StateDetails


class ParentTaskRun:
    """Links a subflow run to its parent, and mirrors its states. For a flow run without a parent it does nothing.

    Attributes:
        child_to_resume: the subflow run that an earlier attempt of the parent has begun at this place.
        is_to_be_repeated: whether somebody asked for that to be executed again, although it has completed.
    """

    def __init__(
        self,
        client: Client,
        flow: FlowDefinition,
        parent: FlowRunContext | None,
        given: dict[str, Any],
        asked: dict[str, Any],
        receiver: Any,
    ) -> None:
        self.id: str | None = None
        self.child_to_resume: str | None = None
        self.is_to_be_repeated = False
        self._recorder = client.recorder
        self._parent = parent
        if parent is None:
            return
        now = clock.now()
        position = parent.next_dynamic_key(flow.flow_key)
        self._entry = TaskRunEntry(
            id=new_id(),
            flow_run_id=parent.id,
            attempt=parent.attempt,
            name=f"{flow.name}-{position}",
            task_key=flow.flow_key,
            dynamic_key=position,
            tags="[]",
            policy=None,
            created=now,
            progress=Progress(PENDING, "Pending", (("PENDING", None, None, now),)),
            task_inputs=task_inputs(asked, parent.tracked, None),
            input_hash=input_hash(given, parent.tracked, receiver),
        )
        if parent.earlier is not None:
            self._continue_earlier(flow, parent, position)
        self.id = self._entry.id

    def _continue_earlier(self, flow: FlowDefinition, parent: FlowRunContext, position: str) -> None:
        assert parent.earlier is not None
        entry = self._entry
        found = parent.earlier.take(flow.flow_key, position, entry.input_hash or "")
        if found is None:
            entry.dynamic_key = parent.earlier.next_number(flow.flow_key) + parent.mark
            entry.name = f"{flow.name}-{entry.dynamic_key}"
            return
        found.attempt, found.task_inputs, found.input_hash = entry.attempt, entry.task_inputs, entry.input_hash
        self._entry = found
        self.child_to_resume = found.details.child_flow_run_id if found.details is not None else None
        self.is_to_be_repeated = found.progress.name == AWAITING_RERUN

    def announce_child(self, flow_run_id: str) -> None:
        """Notes which subflow run there will be, before it is created: a process that dies in between leaves no orphan."""
        if self._parent is not None:
            self._entry.details = StateDetails(child_flow_run_id=flow_run_id)
            self._recorder.put(self._entry)

    def follow(self, state: State[Any]) -> None:
        """Takes on a state of the subflow run; the parent is judged by the final one."""
        if self._parent is None:
            return
        entry = self._entry
        if not (state.is_completed() and entry.progress.type is COMPLETED):  # else it had completed before
            name = None if state.type is RUNNING and state.name == "Running" else state.name
            entry.details = StateDetails(child_flow_run_id=state.state_details.flow_run_id)
            entry.progress = entry.progress.then(state.type, name, state.message, clock.now())
            self._recorder.put(entry)
        if state.is_final():
            self._parent.children.append(state)
            if state.data is not None:
                self._parent.tracked.add(state.data, entry.id)
