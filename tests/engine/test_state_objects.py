"""States as a user meets them: made by hand, shown, asked."""

import pytest

from tidemill import State
from tidemill.exceptions import CancelledRun, CrashedRun, FailedRun, PausedRun, UnfinishedRun
from tidemill.states import (
    AwaitingRetry,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    Paused,
    Pending,
    Retrying,
    Running,
    Scheduled,
    StateType,
)

EVERY = [
    (Scheduled, "SCHEDULED", "Scheduled", "is_scheduled"),
    (AwaitingRetry, "SCHEDULED", "AwaitingRetry", "is_scheduled"),
    (Pending, "PENDING", "Pending", "is_pending"),
    (Running, "RUNNING", "Running", "is_running"),
    (Retrying, "RUNNING", "Retrying", "is_running"),
    (Completed, "COMPLETED", "Completed", "is_completed"),
    (Failed, "FAILED", "Failed", "is_failed"),
    (Crashed, "CRASHED", "Crashed", "is_crashed"),
    (Cancelled, "CANCELLED", "Cancelled", "is_cancelled"),
    (Cancelling, "CANCELLING", "Cancelling", "is_cancelling"),
    (Paused, "PAUSED", "Paused", "is_paused"),
]
PREDICATES = sorted({predicate for *_, predicate in EVERY})
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@pytest.mark.parametrize(("make", "type_name", "name", "predicate"), EVERY, ids=[name for _, _, name, _ in EVERY])
def test_type_name_and_predicates(make, type_name, name, predicate):
    state = make()
    assert isinstance(state, State)
    assert state.type is StateType(type_name)
    assert state.name == name
    assert [each for each in PREDICATES if getattr(state, each)()] == [predicate]
    assert state.is_final() is (type_name in FINAL)
    assert state.timestamp.utcoffset() is not None


@pytest.mark.parametrize(
    ("state", "short", "long"),
    [
        (Completed(), "Completed()", "Completed(message=None, type=COMPLETED, result=None)"),
        (Completed(data=42), "Completed()", "Completed(message=None, type=COMPLETED, result=42)"),
        (Failed(message="no"), "Failed('no')", "Failed(message='no', type=FAILED, result=None)"),
        (Running(name="Retrying"), "Retrying(type=RUNNING)", "Retrying(message=None, type=RUNNING, result=None)"),
        (
            Completed(name="Cached", message="seen before", data=[1]),
            "Cached('seen before', type=COMPLETED)",
            "Cached(message='seen before', type=COMPLETED, result=[1])",
        ),
        (Failed(data=ValueError("x")), "Failed()", "Failed(message=None, type=FAILED, result=ValueError('x'))"),
    ],
    ids=str,
)
def test_str_is_short_and_repr_shows_the_value(state, short, long):
    assert str(state) == short
    assert repr(state) == long


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (Failed, FailedRun),
        (Crashed, CrashedRun),
        (Cancelled, CancelledRun),
        (Paused, PausedRun),
        (Pending, UnfinishedRun),
        (Running, UnfinishedRun),
        (Scheduled, UnfinishedRun),
        (Cancelling, UnfinishedRun),
    ],
    ids=lambda value: value.__name__,
)
def test_a_state_without_a_value_says_why(make, error):
    state = make(message="as it is")
    with pytest.raises(error, match="as it is"):
        state.result()
    assert isinstance(state.result(raise_on_failure=False), error)


def test_the_exception_a_state_carries_is_raised():
    error = LookupError("gone")
    assert Failed(data=error).result(raise_on_failure=False) is error
    with pytest.raises(LookupError) as caught:
        Failed(data=error).result()
    assert caught.value is error


def test_a_failed_state_of_states_raises_the_first_failure():
    inner = [Completed(data=1), Failed(data=LookupError("first")), Failed(data=ValueError("second"))]
    with pytest.raises(LookupError, match="first"):
        Failed(data=inner).result()


def test_an_exception_may_be_the_value_of_a_completed_run():
    error = LookupError("only a value")
    assert Completed(data=error).result() is error
