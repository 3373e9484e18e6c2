"""What the bodies of requests about runs hold, and what that means here.

What clients of the field send beside it is refused where the field refuses it, so that a wrong name is noticed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tidemill import clock
from tidemill.filters import Id
from tidemill.ids import new_id
from tidemill.names import two_words
from tidemill.records import FlowRunPolicy, TaskRunPolicy
from tidemill.server.errors import InvalidRequest
from tidemill.states import FOREIGN, ResultReference, State, StateDetails, StateType
from tidemill.texts import storable

# As long as what an index of either database takes.
FlowName = Annotated[str, Meta(pattern=r"^[^/%&><\x00]+$", max_length=500)]
RunName = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]
Key = Annotated[str, Meta(max_length=500, pattern=r"^[^\x00]*$")]
DynamicKey = Annotated[str, Meta(max_length=100, pattern=r"^[^\x00]*$")]
CacheKey = Annotated[str, Meta(max_length=2000, pattern=r"^[^\x00]*$")]
Text = Annotated[str, Meta(pattern=r"^[^\x00]*$")]
Labels = dict[str, bool | int | float | str]
Retries = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Delay = Annotated[float, Meta(ge=0, le=1e9)]

_KNOWN_DETAILS = frozenset(field.name for field in msgspec.structs.fields(StateDetails)) - {"more"}
# Later times cannot be written as a date with certainty.
_LATEST_YEAR = 9000
_encode = msgspec.json.Encoder().encode


class FlowCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A flow to be there."""

    name: FlowName
    tags: list[str] = []
    labels: Labels | None = None


class FlowUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    tags: list[str] | UnsetType = UNSET
    labels: Labels | UnsetType = UNSET


class StateCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A state as a client proposes it; the time is the server's.

    `state_details` are those of a state; what is unknown among them is kept and given back. So is `data`.
    """

    type: StateType
    name: Text | None = None
    message: Text | None = None
    data: Any = None
    state_details: dict[str, Any] | None = None
    id: str | None = None
    timestamp: datetime | None = None

    def to_state(self) -> State[Any]:
        """The state, with new id and time.

        Raises:
            InvalidRequest: the details are none.
        """
        data = None if self.data is None else ResultReference(FOREIGN, inline=_encode(self.data))
        message = None if self.message is None else storable(self.message)
        details = _details(self.state_details or {})
        return State(type=self.type, name=self.name or "", message=message, data=data, id=new_id(), state_details=details)


class FlowRunPolicyBody(msgspec.Struct, kw_only=True):
    retries: Retries | None = None
    retry_delay: Delay | None = None
    max_retries: Retries = 0
    retry_delay_seconds: Delay = 0.0
    pause_keys: list[str] | None = None
    resuming: bool | None = False
    retry_type: str | None = None

    def to_policy(self) -> FlowRunPolicy:
        return FlowRunPolicy(
            retries=self.max_retries if self.retries is None else self.retries,
            retry_delay=self.retry_delay_seconds if self.retry_delay is None else self.retry_delay,
            max_retries=self.max_retries,
            retry_delay_seconds=self.retry_delay_seconds,
            pause_keys=self.pause_keys or [],
            resuming=bool(self.resuming),
            retry_type=self.retry_type,
        )


class TaskRunPolicyBody(msgspec.Struct, kw_only=True):
    retries: Retries | None = None
    retry_delay: Delay | list[Delay] | None = None
    max_retries: Retries = 0
    retry_delay_seconds: Delay = 0.0
    retry_jitter_factor: Delay | None = None

    def to_policy(self) -> TaskRunPolicy:
        return TaskRunPolicy(
            retries=self.max_retries if self.retries is None else self.retries,
            retry_delay=self.retry_delay_seconds if self.retry_delay is None else self.retry_delay,
            max_retries=self.max_retries,
            retry_delay_seconds=self.retry_delay_seconds,
            retry_jitter_factor=self.retry_jitter_factor,
        )


class FlowRunCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A flow run to be created; without a name it gets one of two words, without a state it is Pending."""

    flow_id: Id
    id: Id | None = None
    name: RunName | None = None
    state: StateCreate | None = None
    flow_version: Text | None = None
    parameters: dict[str, Any] = {}
    context: dict[str, Any] = {}
    parent_task_run_id: Id | None = None
    empirical_policy: FlowRunPolicyBody = msgspec.field(default_factory=FlowRunPolicyBody)
    tags: list[str] = []
    labels: Labels | None = None
    idempotency_key: Key | None = None
    job_variables: dict[str, Any] | None = None
    deployment_id: Id | None = None
    infrastructure_document_id: Id | None = None
    work_pool_name: str | None = None
    work_queue_name: str | None = None


class FlowRunUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is not named stays as it is."""

    name: RunName | UnsetType | None = UNSET
    flow_version: Text | UnsetType | None = UNSET
    parameters: dict[str, Any] | UnsetType = UNSET
    empirical_policy: FlowRunPolicyBody | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET
    infrastructure_pid: Text | UnsetType | None = UNSET
    job_variables: dict[str, Any] | UnsetType | None = UNSET


class SetState(msgspec.Struct, kw_only=True):
    state: StateCreate
    force: bool = False


class Resume(msgspec.Struct, kw_only=True):
    run_input: dict[str, Any] | None = None


class TaskRunCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A task run to be there; without a name it gets one of two words."""

    task_key: RunName
    dynamic_key: DynamicKey
    id: Id | None = None
    name: RunName | None = None
    flow_run_id: Id | None = None
    state: StateCreate | None = None
    cache_key: CacheKey | None = None
    cache_expiration: datetime | None = None
    task_version: Text | None = None
    empirical_policy: TaskRunPolicyBody = msgspec.field(default_factory=TaskRunPolicyBody)
    tags: list[str] = []
    labels: Labels | None = None
    task_inputs: dict[str, list[dict[str, Any]]] = {}


class TaskRunUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: RunName


class LogCreate(msgspec.Struct, kw_only=True):
    """A line that a run logged; the order of lines is that of their times."""

    name: Text
    level: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
    message: Text
    timestamp: datetime
    flow_run_id: Id | None = None
    task_run_id: Id | None = None


def name_or_two_words(name: str | None) -> str:
    """A run's name, made up where there is none."""
    return two_words() if name is None else storable(name)


def microseconds(when: datetime) -> int:
    """A time of a request, in microseconds since the epoch; without a zone it is UTC.

    Raises:
        InvalidRequest: it is too far away.
    """
    try:
        moment = clock.from_datetime(when if when.tzinfo is not None else when.replace(tzinfo=UTC))
    except OverflowError:
        moment = None
    if moment is None or when.year > _LATEST_YEAR:
        raise InvalidRequest(f"{when.isoformat()} is too far away; the year {_LATEST_YEAR} is the last.")
    return moment


def _details(told: dict[str, Any]) -> StateDetails:
    unknown = {name: value for name, value in told.items() if name not in _KNOWN_DETAILS}
    try:
        details = msgspec.convert({name: told[name] for name in told if name not in unknown}, StateDetails, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"state_details: {error}") from None
    for name in ("scheduled_time", "pause_timeout", "cache_expiration"):
        when = getattr(details, name)
        setattr(details, name, None if when is None else clock.to_datetime(microseconds(when)))
    if unknown:
        details.more = unknown
    return details
