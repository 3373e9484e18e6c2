"""Which columns a record is made of, and how it is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, cast

import msgspec

from tidemill import clock, ids
from tidemill.records import Flow, FlowRun, FlowRunPolicy, Log, TaskRun, TaskRunPolicy, seconds, states_of_history
from tidemill.states import (
    COMPLETED,
    FAILED,
    FOREIGN,
    RUNNING,
    SCHEDULED,
    TERMINAL_TYPES,
    FullStateDetails,
    ResultReference,
    State,
    StateType,
    Unkept,
)

FLOW = "flow.id, flow.name, flow.tags, flow.labels, flow.created, flow.updated"
STATE = (
    "flow_run_state.id, flow_run_state.type, flow_run_state.name, flow_run_state.message, flow_run_state.timestamp, "
    "flow_run_state.details, flow_run_state.result_serializer, flow_run_state.result, flow_run_state.result_key"
)
FLOW_RUN = (
    "flow_run.id, flow_run.name, flow_run.flow_id, flow.name, flow_run.flow_version, flow_run.entrypoint, "
    "flow_run.parameters, flow_run.tags, flow_run.labels, flow_run.context, flow_run.job_variables, "
    "flow_run.infrastructure_pid, flow_run.empirical_policy, flow_run.parent_task_run_id, flow_run.parent_flow_run_id, "
    "flow_run.idempotency_key, flow_run.attempt, flow_run.created, flow_run.updated, flow_run.expected_start_time, "
    "flow_run.start_time, flow_run.end_time, flow_run.total_run_time"
)
TASK_RUN = (
    "task_run.id, task_run.name, task_run.flow_run_id, task_run.task_key, task_run.dynamic_key, task_run.task_version, "
    "task_run.tags, task_run.labels, task_run.task_inputs, task_run.empirical_policy, task_run.cache_key, "
    "task_run.run_count, task_run.attempt, task_run.created, task_run.start_time, task_run.end_time, "
    "task_run.total_run_time, task_run.history, task_run.details, task_run.result_serializer, task_run.result, "
    "task_run.result_key"
)
LOG = "log.seq, log.flow_run_id, log.task_run_id, log.level, log.timestamp, log.name, log.message"

_NOT_KEPT = {
    COMPLETED: "it could not be serialized, or it is larger than TIDEMILL_RESULTS_SIZE_LIMIT",
    FAILED: "its exception could not be serialized",
}
# Without its parameter, which would cost each of thousands of rows a look-up.
_State = cast("type[State[Any]]", State)
_TYPES = {type.value: type for type in StateType}
_decode_tags = msgspec.json.Decoder(list[str]).decode
_decode_inputs = msgspec.json.Decoder(dict[str, list[dict[str, Any]]]).decode
_decode_flow_run_policy = msgspec.json.Decoder(FlowRunPolicy).decode
_decode_task_run_policy = msgspec.json.Decoder(TaskRunPolicy).decode
_decode_details = msgspec.json.Decoder(FullStateDetails).decode
_decode = msgspec.json.Decoder().decode


# There are few flows, and many runs of each.
_flow_id = lru_cache(256)(ids.from_bytes)


def to_flow(row: tuple[Any, ...]) -> Flow:
    id, name, tags, labels, created, updated = row
    return Flow(
        id=ids.from_bytes(id),
        name=name,
        tags=_decode_tags(tags),
        labels=_decode(labels),
        created=clock.to_datetime(created),
        updated=clock.to_datetime(updated),
    )


def to_flow_run(row: tuple[Any, ...]) -> FlowRun:
    id, name, flow_id, flow_name, version, entrypoint, parameters, tags, labels, context, variables, pid, policy, *rest = row
    parent_task, parent, key, attempt, created, updated, expected, start, end, total, *state_row = rest
    run_id = ids.from_bytes(id)
    state = to_state(state_row, run_id)
    return FlowRun(
        id=run_id,
        name=name,
        flow_id=_flow_id(flow_id),
        flow_name=flow_name,
        flow_version=version,
        entrypoint=entrypoint,
        parameters=_decode(parameters),
        tags=_decode_tags(tags),
        labels=_decode(labels),
        context=_decode(context),
        job_variables=_decode(variables),
        infrastructure_pid=pid,
        empirical_policy=_decode_flow_run_policy(policy),
        parent_task_run_id=ids.from_bytes(parent_task) if parent_task else None,
        parent_flow_run_id=ids.from_bytes(parent) if parent else None,
        idempotency_key=key,
        run_count=attempt,
        state_id=state.id,
        state_type=state.type,
        state_name=state.name,
        state=state,
        created=clock.to_datetime(created),
        updated=clock.to_datetime(updated),
        expected_start_time=_time(expected),
        next_scheduled_start_time=_time(expected) if state.type is SCHEDULED else None,
        start_time=_time(start),
        end_time=_time(end),
        total_run_time=seconds(total),
        estimated_run_time=_run_time(state.type, state_row[4], total),
        estimated_start_time_delta=_lateness(state.type, expected, start),
    )


def to_state(row: Sequence[Any], flow_run_id: str) -> State[Any]:
    """A state of a flow run."""
    id, type_text, name, message, timestamp, details_json, *result = row
    details = _decode_details(details_json)
    details.flow_run_id = flow_run_id
    type = _TYPES[type_text]
    return _State(
        type=type,
        name=name,
        message=message,
        timestamp=clock.to_datetime(timestamp),
        data=_data(type, *result),
        id=ids.from_bytes(id),
        state_details=details,
    )


def to_task_run(row: tuple[Any, ...]) -> TaskRun:
    id, name, flow_run_id, task_key, dynamic_key, version, tags, labels, inputs, policy, cache_key, run_count, *rest = row
    attempt, created, start, end, total, *_ = rest
    state = to_task_run_states(row)[-1]
    began = clock.from_datetime(state.timestamp)
    scheduled = state.state_details.scheduled_time or state.timestamp
    return TaskRun(
        id=ids.from_bytes(id),
        name=name,
        flow_run_id=ids.from_bytes(flow_run_id) if flow_run_id else None,
        task_key=task_key,
        dynamic_key=dynamic_key,
        task_version=version,
        tags=_decode_tags(tags),
        labels=_decode(labels) if labels else {},
        task_inputs=_decode_inputs(inputs),
        empirical_policy=_decode_task_run_policy(policy) if policy else TaskRunPolicy(),
        cache_key=cache_key,
        cache_expiration=state.state_details.cache_expiration,
        run_count=run_count,
        flow_run_run_count=attempt,
        state_id=state.id,
        state_type=state.type,
        state_name=state.name,
        state=state,
        created=clock.to_datetime(created),
        updated=state.timestamp,
        expected_start_time=clock.to_datetime(created),
        next_scheduled_start_time=scheduled if state.type is SCHEDULED else None,
        start_time=_time(start),
        end_time=_time(end),
        total_run_time=seconds(total),
        estimated_run_time=_run_time(state.type, began, total),
        estimated_start_time_delta=_lateness(state.type, created, start),
    )


def to_task_run_states(row: tuple[Any, ...]) -> list[State[Any]]:
    """The states in the row's history; what more is known, and the result, belong to the last."""
    history, details, *result = row[-5:]
    task_run_id, flow_run_id = ids.from_bytes(row[0]), row[2] and ids.from_bytes(row[2])
    states = states_of_history(task_run_id, _decode(history))
    last = states[-1]
    if details:
        last.state_details = _decode_details(details)
        last.state_details.task_run_id = task_run_id
    last.data = _data(last.type, *result)
    for state in states:
        state.state_details.flow_run_id = flow_run_id
    return states


def to_log(row: tuple[Any, ...]) -> Log:
    seq, flow_run_id, task_run_id, level, timestamp, name, message = row
    when = clock.to_datetime(timestamp)
    return Log(
        id=ids.from_bytes(seq.to_bytes(16)),
        name=name,
        level=level,
        message=message,
        timestamp=when,
        flow_run_id=ids.from_bytes(flow_run_id) if flow_run_id else None,
        task_run_id=ids.from_bytes(task_run_id) if task_run_id else None,
        created=when,
        updated=when,
        seq=seq,
    )


def _data(type: StateType, serializer: str | None, inline: bytes | None, key: str | None) -> Any:
    if serializer is None:
        return Unkept(_NOT_KEPT[type]) if type in _NOT_KEPT else None
    if serializer == FOREIGN:
        return _decode(inline or b"null")
    return ResultReference(serializer, inline=inline, storage_key=key)


def _run_time(type: StateType, since: int, total: int) -> float:
    """For how many seconds a run has been running, up to now."""
    if type is RUNNING:
        total += max(0, clock.now() - since)
    return seconds(total)


def _lateness(type: StateType, expected: int | None, start: int | None) -> float:
    """How many seconds after the expected time a run began; of one that has yet to begin, up to now."""
    if expected is None:
        return 0.0
    if start is None:
        start = expected if type in TERMINAL_TYPES else clock.now()
    return seconds(start - expected) if start > expected else 0.0


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else clock.to_datetime(microseconds)
