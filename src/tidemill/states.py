"""What a run's state is, and between which states a run may move."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Generic, NamedTuple, TypeVar, cast

import msgspec

from tidemill import clock
from tidemill.exceptions import (
    CancelledRun,
    CrashedRun,
    FailedRun,
    MissingResult,
    PausedRun,
    RunError,
    UnfinishedRun,
)

R = TypeVar("R")


class StateType(str, Enum):
    """The nine types; rules look at the type, people at the name."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CRASHED = "CRASHED"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"


SCHEDULED, PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, CRASHED, PAUSED, CANCELLING = StateType
TERMINAL_TYPES = frozenset({COMPLETED, FAILED, CANCELLED, CRASHED})
# The name of the Scheduled state of a task run that somebody asked to be executed again (`flow-run retry --from`).
AWAITING_RERUN = "AwaitingRerun"
DEFAULT_NAMES = {type: type.value.capitalize() for type in StateType}

# From which type a run may go to which. Leaving a terminal type means another attempt of the same run (resume or retry);
# whether that is allowed at the time is for the rules to say (rules.py).
_STOPPED = {SCHEDULED, PENDING, RUNNING, CANCELLED}
ALLOWED_TRANSITIONS: dict[StateType | None, frozenset[StateType]] = {
    type: frozenset(targets)
    for type, targets in {
        None: set(StateType),
        SCHEDULED: {SCHEDULED, PENDING, RUNNING, PAUSED, CANCELLING, *TERMINAL_TYPES},
        PENDING: {SCHEDULED, PENDING, RUNNING, PAUSED, CANCELLING, *TERMINAL_TYPES},
        RUNNING: {SCHEDULED, RUNNING, PAUSED, CANCELLING, *TERMINAL_TYPES},
        PAUSED: {SCHEDULED, PENDING, RUNNING, CANCELLING, *TERMINAL_TYPES},
        CANCELLING: {CANCELLING, CANCELLED, FAILED, CRASHED, COMPLETED},
        COMPLETED: {SCHEDULED, PENDING, RUNNING, COMPLETED},
        FAILED: {*_STOPPED, COMPLETED, FAILED},
        CRASHED: {*_STOPPED, COMPLETED, FAILED, CRASHED},
        CANCELLED: {*_STOPPED, COMPLETED},
    }.items()
}


class StateDetails(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What more is known of a state; field names are those of the REST API."""

    flow_run_id: str | None = None
    task_run_id: str | None = None
    child_flow_run_id: str | None = None
    scheduled_time: datetime | None = None
    cache_key: str | None = None
    cache_expiration: datetime | None = None
    cache_ingredients: dict[str, str] | None = None
    refresh_cache: bool | None = None
    retriable: bool | None = None
    transition_id: str | None = None
    error: ErrorSummary | None = None
    deferred: bool | None = False
    untrackable_result: bool | None = False
    pause_timeout: datetime | None = None
    pause_reschedule: bool | None = False
    pause_key: str | None = None
    run_input_keyset: dict[str, str] | None = None
    task_parameters_id: str | None = None
    traceparent: str | None = None
    deployment_concurrency_lease_id: str | None = None
    # What a client told beside these, kept for it.
    more: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class FullStateDetails(StateDetails, kw_only=True, omit_defaults=False):
    """The same as the REST API answers them: with every key, also where nothing is known."""


class ErrorSummary(msgspec.Struct, frozen=True):
    """An exception as text, so that a page or another process can show it without loading it."""

    type: str
    message: str
    traceback: str


# The serializer of what a client of the REST API told as a state's data: JSON, which is given back as it is.
FOREIGN = "foreign"


class ResultReference(NamedTuple):
    """Where a kept result is: the bytes themselves when they are few, else the key of a file in the result storage."""

    serializer: str
    inline: bytes | None = None
    storage_key: str | None = None


class State(msgspec.Struct, Generic[R], kw_only=True, eq=False):
    """Where a run stands: a type for the rules, a name for people, when it began, and for a finished run its value."""

    type: StateType
    name: str = ""
    message: str | None = None
    timestamp: datetime = msgspec.field(default_factory=lambda: clock.to_datetime(clock.now()))
    data: Any = None
    id: str | None = None
    state_details: StateDetails = msgspec.field(default_factory=StateDetails)

    def __post_init__(self) -> None:
        if type(self.type) is str:  # as the wire has it
            self.type = StateType(self.type)
        if not self.name:
            self.name = DEFAULT_NAMES[self.type]

    def result(self, raise_on_failure: bool = True) -> R:
        """The run's value.

        Args:
            raise_on_failure: raise the run's exception (or, for a run that has none, an error that says what became of
                it); if False, give the exception instead.

        Raises:
            UnfinishedRun: the run has not finished.
            MissingResult: the run completed, but its value was not kept.
        """
        return cast(R, _value_or_error(self, raise_on_failure))

    def is_scheduled(self) -> bool:
        return self.type is SCHEDULED

    def is_pending(self) -> bool:
        return self.type is PENDING

    def is_running(self) -> bool:
        return self.type is RUNNING

    def is_completed(self) -> bool:
        return self.type is COMPLETED

    def is_failed(self) -> bool:
        return self.type is FAILED

    def is_crashed(self) -> bool:
        return self.type is CRASHED

    def is_cancelled(self) -> bool:
        return self.type is CANCELLED

    def is_cancelling(self) -> bool:
        return self.type is CANCELLING

    def is_paused(self) -> bool:
        return self.type is PAUSED

    def is_final(self) -> bool:
        """Whether a run in this state has ended."""
        return self.type in TERMINAL_TYPES

    def __repr__(self) -> str:
        return f"{self.name}(message={self.message!r}, type={self.type.value}, result={_shown_value(self)})"

    def __str__(self) -> str:
        parts = [repr(self.message)] if self.message else []
        if self.name != DEFAULT_NAMES[self.type]:
            parts.append(f"type={self.type.value}")
        return f"{self.name}({', '.join(parts)})"


class ValueElsewhere(ABC):
    """Stands in a state's data for a value that is in another process."""

    @abstractmethod
    def fetch(self) -> Any:
        """Brings the value here.

        Raises:
            MissingResult: it is gone.
        """

    @abstractmethod
    def when_fetched(self, note: Callable[[Any], None]) -> None:
        """Calls `note` with the value when it has been brought here."""


class Unkept(msgspec.Struct, frozen=True):
    """Stands in a state's data for a value that was not kept, with the reason."""

    reason: str


# How a reference becomes a value. Reading files and unpickling are not this module's business: results.py sets it.
load_reference: Callable[[ResultReference], Any] | None = None


def resolve(data: Any) -> Any:
    """A state's data as a value.

    Raises:
        MissingResult: it was not kept, or nothing here can read it.
    """
    if isinstance(data, ResultReference):
        if load_reference is None:
            raise MissingResult("This process reads no results.")
        return load_reference(data)
    if isinstance(data, ValueElsewhere):
        return data.fetch()
    if isinstance(data, Unkept):
        raise MissingResult(f"The run's result was not kept: {data.reason}. Run it again to get its value.")
    return data


def _shown_value(state: State[Any]) -> str:
    try:
        return repr(resolve(state.data))
    except MissingResult:
        return "<not kept>"
    except Exception:  # a value's own __repr__ must not make its state unreadable
        return f"<{type(state.data).__qualname__} object>"


def _value_or_error(state: State[Any], raise_on_failure: bool) -> Any:
    if not state.is_final():
        error: BaseException = _unfinished(state)
    elif state.is_completed():
        return resolve(state.data)
    else:
        error = error_of(state)
    if raise_on_failure:
        raise error
    return error


def _unfinished(state: State[Any]) -> RunError:
    if state.is_paused():
        return PausedRun(f"The run is paused: {state}. Resume it to get its result.")
    return UnfinishedRun(f"The run has not finished; it is in state {state}, which has no result.")


_ERRORS = {FAILED: FailedRun, CRASHED: CrashedRun, CANCELLED: CancelledRun}


def error_of(state: State[Any]) -> BaseException:
    """The exception behind a failed, crashed or cancelled state; for aggregated states, that of the first that failed."""
    data = resolve(state.data) if not isinstance(state.data, Unkept) else state.data.reason
    if isinstance(data, BaseException):
        return data
    for inner in [cast("State[Any]", data)] if isinstance(data, State) else states_in(data):
        if not inner.is_completed():
            return error_of(inner)
    if not state.is_final():
        return _unfinished(state)
    message = state.message or (data if isinstance(data, str) else None)
    if message is None and state.state_details.error is not None:
        message = state.state_details.error.message
    return _ERRORS.get(state.type, FailedRun)(message or f"The run ended in state {state}.")


def states_in(data: Any) -> list[State[Any]]:
    """The states of a list, tuple, set or dict that holds nothing but states; else an empty list."""
    if isinstance(data, dict):
        members: Iterable[Any] = cast("dict[Any, Any]", data).values()
    elif isinstance(data, list | tuple | set | frozenset):
        members = cast("Iterable[Any]", data)
    else:
        return []
    states = list(members)
    return states if states and all(isinstance(member, State) for member in states) else []


def aggregate(states: list[State[Any]], data: Any) -> State[Any]:
    """The state of a flow run that is judged by others' states; `data` becomes its result."""
    total = len(states)
    if all(state.is_completed() for state in states):
        return Completed(message="All states completed.", data=data)
    cancelled = sum(state.is_cancelled() for state in states)
    if cancelled:
        return Cancelled(message=f"{cancelled}/{total} states cancelled.", data=data)
    failed = sum(state.is_failed() or state.is_crashed() for state in states)
    if failed:
        return Failed(message=f"{failed}/{total} states failed.", data=data)
    unfinished = sum(not state.is_final() for state in states)
    return Failed(message=f"{unfinished}/{total} states are not final.", data=data)


def Scheduled(*, scheduled_time: datetime | None = None, name: str = "", message: str | None = None) -> State[Any]:
    when = scheduled_time or clock.to_datetime(clock.now())
    return State(type=SCHEDULED, name=name, message=message, state_details=StateDetails(scheduled_time=when))


def AwaitingRetry(*, delay_seconds: float = 0.0, message: str | None = None) -> State[Any]:
    when = clock.to_datetime(clock.now()) + timedelta(seconds=delay_seconds)
    return Scheduled(scheduled_time=when, name="AwaitingRetry", message=message)


def Late(*, scheduled_time: datetime | None = None, message: str | None = None) -> State[Any]:
    return Scheduled(scheduled_time=scheduled_time, name="Late", message=message)


def Pending(*, name: str = "", message: str | None = None) -> State[Any]:
    return State(type=PENDING, name=name, message=message)


def Running(*, name: str = "", message: str | None = None) -> State[Any]:
    return State(type=RUNNING, name=name, message=message)


def Retrying(*, message: str | None = None) -> State[Any]:
    return Running(name="Retrying", message=message)


def Completed(*, data: Any = None, name: str = "", message: str | None = None) -> State[Any]:
    return State(type=COMPLETED, name=name, message=message, data=data)


def Failed(*, data: Any = None, name: str = "", message: str | None = None) -> State[Any]:
    return State(type=FAILED, name=name, message=message, data=data)


def TimedOut(*, data: Any = None, message: str | None = None) -> State[Any]:
    return Failed(data=data, name="TimedOut", message=message)


def Crashed(*, data: Any = None, name: str = "", message: str | None = None) -> State[Any]:
    return State(type=CRASHED, name=name, message=message, data=data)


def Cancelled(*, data: Any = None, name: str = "", message: str | None = None) -> State[Any]:
    return State(type=CANCELLED, name=name, message=message, data=data)


def Cancelling(*, name: str = "", message: str | None = None) -> State[Any]:
    return State(type=CANCELLING, name=name, message=message)


def Paused(*, name: str = "", message: str | None = None) -> State[Any]:
    return State(type=PAUSED, name=name, message=message)
