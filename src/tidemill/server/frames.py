"""The event frames of the field's clients, read: which of them tell of a task run that its client orchestrates."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import Any

import msgspec

from tidemill import clock, ids
from tidemill.event_filters import RESOURCE_ID, RESOURCE_ROLE, Event
from tidemill.orchestration.observed import Observation
from tidemill.records import RunPolicy
from tidemill.states import DEFAULT_NAMES, FOREIGN, ResultReference, StateDetails, StateType
from tidemill.texts import storable

_TASK_RUN = "prefect.task-run."
_FLOW_RUN = "prefect.flow-run."
_NO_DETAILS = StateDetails()
_NOTHING = msgspec.Raw(b"null")


class MalformedFrame(ValueError):
    """What a client sent is no event, or tells of a task run something that cannot be so."""


class _State(msgspec.Struct, gc=False):
    type: StateType
    name: str | None = None
    message: str | None = None
    state_details: StateDetails | None = None
    data: msgspec.Raw = _NOTHING


class _Policy(msgspec.Struct, gc=False):
    retries: int | None = None
    retry_delay: float | list[float] | None = None
    retry_jitter_factor: float | None = None


class _TaskRun(msgspec.Struct, gc=False):
    task_key: str
    dynamic_key: str
    name: str | None = None
    empirical_policy: msgspec.Raw = msgspec.Raw(b"{}")
    tags: list[str] = []
    labels: dict[str, Any] = {}
    task_inputs: dict[str, list[dict[str, Any]]] = {}
    task_version: str | None = None
    cache_key: str | None = None
    run_count: int = 0
    flow_run_run_count: int = 0
    expected_start_time: dt.datetime | None = None
    start_time: dt.datetime | None = None
    end_time: dt.datetime | None = None
    total_run_time: float = 0.0


class _Payload(msgspec.Struct, gc=False):
    validated_state: _State
    task_run: _TaskRun


_decode_event = msgspec.json.Decoder(Event).decode
_decode_payload = msgspec.json.Decoder(_Payload).decode
_decode_policy = msgspec.json.Decoder(_Policy).decode
_decode_time = msgspec.json.Decoder(dt.datetime).decode
_encode = msgspec.json.Encoder().encode


def read_event(frame: str | bytes) -> Event:
    """The event in a frame.

    Raises:
        MalformedFrame: there is none.
    """
    try:
        return _decode_event(frame)
    except ValueError as error:
        raise MalformedFrame(str(error)) from None


def observation(event: Event) -> Observation | None:
    """What an event tells of a task run; None if it tells something else, or of one that is orchestrated elsewhere.

    Raises:
        MalformedFrame: it tells what cannot be so.
    """
    resource = event.resource
    if not event.event.startswith(_TASK_RUN) or resource.get("prefect.orchestration") != "client":
        return None
    try:
        payload = _decode_payload(event.payload)
        run_id = _id(resource[RESOURCE_ID], _TASK_RUN)
        return _observation(run_id, event, payload.validated_state, payload.task_run)
    except (ValueError, OverflowError) as error:
        raise MalformedFrame(str(error)) from None


def _observation(run_id: str, event: Event, state: _State, run: _TaskRun) -> Observation:
    occurred = clock.from_datetime(event.occurred)
    told_at = event.resource.get("prefect.state-timestamp")
    time = occurred if told_at is None else clock.from_datetime(dt.datetime.fromisoformat(told_at))
    name = None if state.name == DEFAULT_NAMES[state.type] else state.name
    flow_run = next((r[RESOURCE_ID] for r in event.related if r.get(RESOURCE_ROLE) == "flow-run" and RESOURCE_ID in r), None)
    details = state.state_details
    return Observation(
        id=run_id,
        flow_run_id=None if flow_run is None else _id(flow_run, _FLOW_RUN),
        name=storable(run.name or event.resource.get("prefect.resource.name") or run.task_key),
        task_key=storable(run.task_key),
        dynamic_key=storable(run.dynamic_key),
        step=(state.type.value, name and storable(name), (state.message and storable(state.message)) or None, time),
        run_count=max(run.run_count, 0),
        attempt=max(run.flow_run_run_count, 0),
        created=occurred if run.expected_start_time is None else clock.from_datetime(run.expected_start_time),
        start_time=None if run.start_time is None else clock.from_datetime(run.start_time),
        end_time=None if run.end_time is None else clock.from_datetime(run.end_time),
        total_run_time=max(int(run.total_run_time * 1_000_000), 0),
        tags=_encode(sorted(set(run.tags))).decode() if run.tags else "[]",
        task_inputs=_encode(run.task_inputs).decode() if run.task_inputs else "{}",
        policy=_policy(bytes(run.empirical_policy)),
        details=None if details is None or details == _NO_DETAILS else details,
        result=None if bytes(state.data) == b"null" else ResultReference(FOREIGN, bytes(state.data)),
        task_version=run.task_version,
        cache_key=run.cache_key,
        labels=_encode(run.labels).decode() if run.labels else None,
    )


@lru_cache(1024)
def _policy(text: bytes) -> str | None:
    """A task's retries as they are kept; a client sends the same with each of its runs."""
    told = _decode_policy(text)
    policy = RunPolicy()
    if told.retries:
        policy.retries = told.retries
    if told.retry_delay:
        policy.retry_delay = told.retry_delay
    policy.retry_jitter_factor = told.retry_jitter_factor
    encoded = _encode(policy).decode()
    return None if encoded == "{}" else encoded


def _id(resource_id: str, kind: str) -> str:
    identifier = resource_id.removeprefix(kind)
    return identifier if ids.is_id(identifier) else ids.from_bytes(ids.to_bytes(identifier))
