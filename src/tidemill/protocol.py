"""What a process and a server say to each other beside the field's REST API: shipments of a journal, and whole records.

Rows travel as the database has them, in both directions the same: a task run costs a microsecond to pack and to unpack.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

from tidemill.records import Lease, Refusals
from tidemill.states import FullStateDetails, ResultReference, State, StateDetails, StateType, Unkept

T = TypeVar("T")

# Raised when one side would misunderstand the other. A server says which it speaks at `GET /api/engine/version`.
PROTOCOL = 1
MEDIA_TYPE = "application/msgpack"


class Greeting(msgspec.Struct):
    """Who a server is."""

    tidemill: str
    protocol: int


class FlowRunRow(NamedTuple):
    """A flow run without its states. Ids are 16 bytes, times microseconds; lists and objects are JSON."""

    id: bytes
    name: str
    flow_version: str | None
    entrypoint: str | None
    attempt: int
    lease_id: bytes | None
    parameters: str
    tags: str
    empirical_policy: str
    parent_task_run_id: bytes | None
    parent_flow_run_id: bytes | None
    idempotency_key: str | None
    created: int
    updated: int
    expected_start_time: int | None
    start_time: int | None
    end_time: int | None
    total_run_time: int
    call_serializer: str | None
    call: bytes | None


class StateRow(NamedTuple):
    """One state of a flow run."""

    id: bytes
    type: str
    name: str
    message: str | None
    timestamp: int
    details: str
    result_serializer: str | None
    result: bytes | None
    result_key: str | None


class TaskRunRow(NamedTuple):
    """A task run with its whole story."""

    id: bytes
    flow_run_id: bytes | None
    attempt: int
    name: str
    task_key: str
    dynamic_key: str
    task_version: str | None
    run_count: int
    state_type: str
    state_name: str
    history: str
    details: str | None
    tags: str
    task_inputs: str
    empirical_policy: str | None
    input_hash: str | None
    cache_key: str | None
    created: int
    start_time: int | None
    end_time: int | None
    total_run_time: int
    result_serializer: str | None
    result: bytes | None
    result_key: str | None
    lease_id: bytes | None


class LogRow(NamedTuple):
    """A line that a run logged."""

    flow_run_id: bytes | None
    task_run_id: bytes | None
    level: int
    timestamp: int
    name: str
    message: str


class FlowRunStory(msgspec.Struct):
    """A flow run with every state it went through, first to last.

    `known` says that the server has had it before: if it is not there any more, it was deleted. What is new to it comes with
    the JSON schema of the flow's parameters, if there is one.
    """

    flow_name: str
    run: FlowRunRow
    states: list[StateRow]
    known: bool = False
    parameter_schema: str | None = None


class Position(NamedTuple):
    """A place in a journal: the number of a change, and the time at which it was made."""

    change: int
    time: int


BEGINNING = Position(0, 0)


class Shipment(msgspec.Struct):
    """What came into a journal after one place in it, up to another; each run as it is by now.

    Attributes:
        begins: the server is not to know the journal yet: this is the first that it gets of it.
        lease_seconds: for how long each lease is valid from when it arrives.
    """

    journal: str
    after: Position
    upto: Position
    begins: bool
    leases: list[Lease]
    lease_seconds: float
    flow_runs: list[FlowRunStory]
    task_runs: list[TaskRunRow]
    logs: list[LogRow]


class Receipt(msgspec.Struct):
    """What became of a shipment.

    Attributes:
        taken: whether everything of it is recorded now. If not, nothing is: it does not follow what the server has.
        has: up to where the server has the journal; None: it does not know it.
        refused: flow runs of which nothing was recorded: others have taken them over, or they were deleted.
    """

    taken: bool
    has: Position | None
    refused: Refusals = {}


class SignOfLife(msgspec.Struct):
    """A process that works on runs says that it lives, and asks how they stand."""

    leases: list[Lease]
    lease_seconds: float
    flow_runs: list[str]


class Standing(NamedTuple):
    """How a flow run stands on the server: its state's type, its attempt, the lease that holds it, and, while it is being
    cancelled, that state."""

    type: StateType
    attempt: int
    lease_id: str | None
    cancelling: StateRow | None = None


class News(msgspec.Struct):
    """The answer: leases that are not there (any more), and how those of the flow runs stand that are."""

    lost_leases: list[str]
    flow_runs: dict[str, Standing]


class Problem(msgspec.Struct):
    """An error as it travels: the name of its class in `tidemill.exceptions`, and its message."""

    error: str
    detail: str


class Taken(msgspec.Struct):
    """A flow run that was begun on the server, whole, so that it can go on elsewhere."""

    flow_run_id: str
    name: str
    status: str
    reason: str | None
    delay_seconds: float
    attempt: int
    existed: bool
    state: State[Any] | None
    story: FlowRunStory | None = None
    task_runs: list[TaskRunRow] = []


_encode = msgspec.msgpack.Encoder().encode


def pack(value: Any) -> bytes:
    """The bytes of a value that travels."""
    return _encode(_converted(value, _to_wire))


def unpack(data: bytes, type: type[T] | Any) -> T:
    """The value in bytes that have travelled.

    Raises:
        msgspec.DecodeError: they are not of that type.
    """
    return _converted(msgspec.msgpack.decode(data, type=type), _from_wire)


def _converted(value: Any, convert: Callable[[State[Any]], State[Any]]) -> Any:
    """The same with its states converted."""
    if value.__class__ is tuple:
        return tuple(_converted(item, convert) for item in value)
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [_converted(item, convert) for item in items] if items and isinstance(items[0], msgspec.Struct) else items
    if isinstance(value, State):
        return convert(cast("State[Any]", value))
    inner = getattr(value, "state", None)  # a run, or something else that has one
    return msgspec.structs.replace(value, state=_converted(inner, convert)) if isinstance(inner, State) else value


def _to_wire(state: State[Any]) -> State[Any]:
    """The state with what says of which kind its data is, which may be any."""
    data = state.data
    if isinstance(data, ResultReference):
        told: dict[str, Any] = {"reference": list(data)}
    else:
        told = {"unkept": data.reason} if isinstance(data, Unkept) else {"value": data}
    return msgspec.structs.replace(state, data=told)


def _from_wire(state: State[Any]) -> State[Any]:
    match state.data:
        case {"reference": [serializer, inline, key]}:
            data: Any = ResultReference(serializer, inline, key)
        case {"unkept": reason}:
            data = Unkept(reason)
        case {"value": value}:
            data = value
        case other:
            data = other
    return msgspec.structs.replace(state, data=data, state_details=_full(state.state_details))


def _full(details: StateDetails) -> FullStateDetails:
    return FullStateDetails(**{name: getattr(details, name) for name in details.__struct_fields__})
