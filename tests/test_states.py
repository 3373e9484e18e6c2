"""States: their types, names and values, and from which a run may go to which."""

import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import msgspec
import pytest

from tidemill import clock, states
from tidemill.exceptions import CancelledRun, CrashedRun, FailedRun, MissingResult, PausedRun, UnfinishedRun
from tidemill.states import (
    ALLOWED_TRANSITIONS,
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    Late,
    Paused,
    Pending,
    ResultReference,
    Retrying,
    Running,
    Scheduled,
    State,
    StateDetails,
    StateType,
    TimedOut,
    Unkept,
    aggregate,
    error_of,
    states_in,
)

# The rows are where a run is, the columns where it may go.
TABLE = """
            SCHEDULED PENDING RUNNING COMPLETED FAILED CANCELLED CRASHED PAUSED CANCELLING
nothing     yes       yes     yes     yes       yes    yes       yes     yes    yes
SCHEDULED   yes       yes     yes     yes       yes    yes       yes     yes    yes
PENDING     yes       yes     yes     yes       yes    yes       yes     yes    yes
RUNNING     yes       no      yes     yes       yes    yes       yes     yes    yes
PAUSED      yes       yes     yes     yes       yes    yes       yes     no     yes
CANCELLING  no        no      no      yes       yes    yes       yes     no     yes
COMPLETED   yes       yes     yes     yes       no     no        no      no     no
FAILED      yes       yes     yes     yes       yes    yes       no      no     no
CRASHED     yes       yes     yes     yes       yes    yes       yes     no     no
CANCELLED   yes       yes     yes     yes       no     yes       no      no     no
"""

MADE = {
    "Scheduled": (Scheduled, StateType.SCHEDULED),
    "AwaitingRetry": (AwaitingRetry, StateType.SCHEDULED),
    "Late": (Late, StateType.SCHEDULED),
    "Pending": (Pending, StateType.PENDING),
    "Running": (Running, StateType.RUNNING),
    "Retrying": (Retrying, StateType.RUNNING),
    "Completed": (Completed, StateType.COMPLETED),
    "Failed": (Failed, StateType.FAILED),
    "TimedOut": (TimedOut, StateType.FAILED),
    "Crashed": (Crashed, StateType.CRASHED),
    "Cancelled": (Cancelled, StateType.CANCELLED),
    "Cancelling": (Cancelling, StateType.CANCELLING),
    "Paused": (Paused, StateType.PAUSED),
}
FINAL = {StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED}


def test_a_run_may_go_where_the_table_says() -> None:
    header, *rows = TABLE.strip().splitlines()
    expected = {
        (current, target): word == "yes"
        for current, *words in (row.split() for row in rows)
        for target, word in zip(header.split(), words, strict=True)
    }
    named = {current.value if current else "nothing": targets for current, targets in ALLOWED_TRANSITIONS.items()}
    assert {(current, target.value): target in named[current] for current, target in product(named, StateType)} == expected


@pytest.mark.parametrize("name", MADE)
def test_a_state_has_the_type_and_name_it_is_called(name: str) -> None:
    make, type = MADE[name]
    state = make()
    assert (state.type, state.name, state.message) == (type, name, None)


@pytest.mark.parametrize("name", MADE)
def test_each_predicate_is_true_of_its_type_only(name: str) -> None:
    make, type = MADE[name]
    state = make()
    assert [other for other in StateType if getattr(state, f"is_{other.value.lower()}")()] == [type]
    assert state.is_final() is (type in FINAL)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (Completed(), "Completed()"),
        (Completed(message="all well"), "Completed('all well')"),
        (Failed(name="Rotten"), "Rotten(type=FAILED)"),
        (TimedOut(message="too slow"), "TimedOut('too slow', type=FAILED)"),
        (Retrying(), "Retrying(type=RUNNING)"),
        (Completed(message="it's"), 'Completed("it\'s")'),
    ],
)
def test_its_short_text_has_what_is_not_said_by_the_name(state: State[Any], text: str) -> None:
    assert str(state) == text


def test_its_long_text_shows_the_value() -> None:
    assert repr(Completed(data=42)) == "Completed(message=None, type=COMPLETED, result=42)"
    assert repr(Failed(message="no", data=ValueError("x"))) == "Failed(message='no', type=FAILED, result=ValueError('x'))"
    assert repr(Completed(data=Unkept("too large"))) == "Completed(message=None, type=COMPLETED, result=<not kept>)"


def test_its_long_text_survives_a_value_that_cannot_be_shown() -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError

    assert "<test_its_long_text_survives_a_value_that_cannot_be_shown.<locals>.Shy object>" in repr(Completed(data=Shy()))


def test_a_state_begins_when_it_is_made() -> None:
    before = clock.to_datetime(clock.now())
    assert before <= Completed().timestamp <= clock.to_datetime(clock.now())


def test_a_scheduled_state_is_for_now_unless_said_otherwise() -> None:
    moment = datetime(2024, 5, 1, tzinfo=UTC)
    assert Scheduled(scheduled_time=moment).state_details.scheduled_time == moment
    now, later = (state.state_details.scheduled_time for state in (Scheduled(), AwaitingRetry(delay_seconds=60)))
    assert now is not None
    assert later is not None
    assert timedelta(seconds=60) <= later - now <= timedelta(seconds=65)


def test_a_completed_state_gives_its_value() -> None:
    assert Completed(data=42).result() == 42
    assert Completed().result() is None
    error = ValueError("a value too")
    assert Completed(data=error).result() is error


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (Running(), UnfinishedRun, r"state Running\(\)"),
        (Pending(name="NotReady"), UnfinishedRun, r"NotReady\(type=PENDING\)"),
        (Paused(), PausedRun, "Resume it"),
        (Failed(data=ValueError("x")), ValueError, "^x$"),
        (Failed(message="why"), FailedRun, "^why$"),
        (Failed(data="why"), FailedRun, "^why$"),
        (Crashed(), CrashedRun, r"ended in state Crashed\(\)"),
        (Cancelled(message="enough"), CancelledRun, "^enough$"),
        (Failed(data=Crashed(message="inner")), CrashedRun, "^inner$"),
        (Failed(data=Completed(data=1), message="odd"), FailedRun, "^odd$"),
        (Failed(data=Pending(name="NotReady")), UnfinishedRun, "NotReady"),
        (Failed(data=[Completed(), Crashed(message="inner"), Failed(message="other")]), CrashedRun, "^inner$"),
        (Failed(data={"a": [1], "b": 2}, message="text"), FailedRun, "^text$"),
        (Failed(data=[Completed(), Running()]), UnfinishedRun, "Running"),
        (Failed(data=Unkept("it was large")), FailedRun, "^it was large$"),
        (Completed(data=Unkept("it was large")), MissingResult, "it was large.*Run it again"),
    ],
)
def test_a_state_without_a_value_raises_what_became_of_the_run(state: State[Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        state.result()


def test_asked_not_to_raise_a_state_gives_the_error() -> None:
    error = ValueError("x")
    assert Failed(data=error).result(raise_on_failure=False) is error
    assert isinstance(Running().result(raise_on_failure=False), UnfinishedRun)


def test_the_error_that_is_known_as_text_only_has_that_text() -> None:
    state = Failed()
    state.state_details = StateDetails(error=states.ErrorSummary("builtins.ValueError", "x is bad", "Traceback ..."))
    assert str(error_of(state)) == "x is bad"


def test_a_kept_value_is_read_when_it_is_asked_for() -> None:
    assert Completed(data=ResultReference("json", b"[1,2]")).result() == [1, 2]
    assert repr(Completed(data=ResultReference("json", b"42"))) == "Completed(message=None, type=COMPLETED, result=42)"
    kept = ResultReference("pickle", pickle.dumps(ValueError("x")))
    with pytest.raises(ValueError, match="x"):
        Failed(data=kept).result()


@pytest.mark.parametrize("container", [list, tuple, set, frozenset, lambda members: dict(enumerate(members))])
def test_states_are_found_in_a_container_of_nothing_else(container: Callable[[Any], Any]) -> None:
    one, other = Completed(), Failed()
    assert {id(state) for state in states_in(container([one, other]))} == {id(one), id(other)}
    assert states_in(container([one, 42])) == []
    assert states_in(container([])) == []


@pytest.mark.parametrize("value", [None, 42, "text", Completed(), iter([Completed()]), {Completed(): 1}])
def test_no_states_are_found_in_anything_else(value: Any) -> None:
    assert states_in(value) == []


@pytest.mark.parametrize(
    ("members", "type", "message"),
    [
        ([Completed(), Completed()], StateType.COMPLETED, "All states completed."),
        ([], StateType.COMPLETED, "All states completed."),
        ([Completed(), Failed()], StateType.FAILED, "1/2 states failed."),
        ([Crashed(), Failed(), TimedOut(), Completed()], StateType.FAILED, "3/4 states failed."),
        ([Cancelled(), Failed(), Completed()], StateType.CANCELLED, "1/3 states cancelled."),
        ([Running(), Completed(), Pending()], StateType.FAILED, "2/3 states are not final."),
        ([Running(), Failed()], StateType.FAILED, "1/2 states failed."),
    ],
)
def test_states_are_judged_together(members: list[State[Any]], type: StateType, message: str) -> None:
    state = aggregate(members, "data")
    assert (state.type, state.message, state.data) == (type, message, "data")


def test_details_leave_out_what_is_not_known_on_the_wire() -> None:
    assert msgspec.json.encode(StateDetails(task_run_id="x")) == b'{"task_run_id":"x"}'


def test_two_states_are_never_equal_since_each_is_one_event() -> None:
    state = Completed()
    assert [state] == [state]
    assert state != msgspec.structs.replace(state)
