"""Runs and states as the API shows them: results are described, never read, and unknown details stand where they were told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, cast

import msgspec
from litestar.openapi.datastructures import ResponseSpec

from tidemill.orchestration.requests import Answer
from tidemill.records import FlowRun, TaskRun
from tidemill.states import ResultReference, State, StateDetails, StateType, Unkept

RunT = TypeVar("RunT", FlowRun, TaskRun)

# Of a result that is longer, only the length is shown.
_LONGEST_VALUE = 4096


class OrchestrationDetails(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Why a state was not written, or how many seconds to wait before it is proposed again."""

    type: str
    reason: str | msgspec.UnsetType | None = msgspec.UNSET
    delay_seconds: int | msgspec.UnsetType = msgspec.UNSET


class OrchestrationResult(msgspec.Struct, kw_only=True):
    """What became of a proposed state: ACCEPT, REJECT (another was written, or none), WAIT or ABORT; `state` is the current."""

    state: State[Any] | None
    status: str
    details: OrchestrationDetails


# Beside the answer of 200, when none was.
A_STATE_WAS_WRITTEN = {201: ResponseSpec(OrchestrationResult, generate_examples=False, description="A state was written.")}


def shown(run: RunT) -> RunT:
    """A run that can go on the wire."""
    if run.state is not None:
        shown_state(run.state)
    return run


def shown_all(runs: Iterable[RunT]) -> list[RunT]:
    return [shown(run) for run in runs]


def shown_state(state: State[Any]) -> State[Any]:
    """A state that can go on the wire."""
    data = state.data
    if isinstance(data, ResultReference):
        state.data = _description(data)
    elif isinstance(data, Unkept):
        state.data = None
    details = state.state_details
    if details.more is not msgspec.UNSET:
        known = msgspec.to_builtins(msgspec.structs.replace(details, more=msgspec.UNSET), builtin_types=(StateType,))
        state.state_details = cast("StateDetails", {**details.more, **known})
    return state


def orchestration_result(answer: Answer) -> OrchestrationResult:
    """What became of a proposed state, as the API tells it."""
    details = OrchestrationDetails(type=f"{answer.status.lower()}_details")
    if answer.status != "ACCEPT":
        details.reason = answer.reason
    if answer.status == "WAIT":
        details.delay_seconds = answer.delay_seconds
    state = answer.state
    return OrchestrationResult(state=state and shown_state(state), status=answer.status, details=details)


def _description(result: ResultReference) -> dict[str, Any]:
    inline = result.inline
    told: dict[str, Any] = {"type": "result", "serializer": result.serializer, "storage_key": result.storage_key}
    told["size"] = None if inline is None else len(inline)
    if result.serializer == "json" and inline is not None and len(inline) <= _LONGEST_VALUE:
        told["value"] = msgspec.json.decode(inline)
    return told
