"""What state a run ends in, by what its function returned."""

import pytest

from tidemill.engine.final_state import made_by_hand, state_from_return
from tidemill.states import Cancelled, Completed, Crashed, Failed, StateDetails, StateType, TimedOut


def of_run(state, **details):
    """The state of a run, as calls with `return_state` give it."""
    state.state_details = StateDetails(**(details or {"task_run_id": "run"}))
    return state


@pytest.mark.parametrize("value", [0, "", False, [], {}, (), 42, [1, 2], "text", ValueError("x")], ids=repr)
def test_any_value_completes_the_run_whatever_its_children_did(value):
    state = state_from_return(value, [of_run(Failed())])
    assert (state.type, state.name, state.message, state.data) == (StateType.COMPLETED, "Completed", None, value)


def test_none_without_children_completes_with_none():
    state = state_from_return(None, [])
    assert (state.type, state.data, state.message) == (StateType.COMPLETED, None, None)


@pytest.mark.parametrize(
    ("children", "type", "message"),
    [
        ([of_run(Completed())], StateType.COMPLETED, "All states completed."),
        ([of_run(Completed()), of_run(Failed())], StateType.FAILED, "1/2 states failed."),
        ([of_run(Completed()), of_run(Crashed()), of_run(TimedOut())], StateType.FAILED, "2/3 states failed."),
        ([of_run(Cancelled()), of_run(Failed())], StateType.CANCELLED, "1/2 states cancelled."),
    ],
)
def test_none_is_judged_by_the_children_which_are_the_value(children, type, message):
    state = state_from_return(None, children)
    assert (state.type, state.message) == (type, message)
    assert state.data is children


@pytest.mark.parametrize("make", [Completed, Failed, Crashed, Cancelled])
def test_a_state_made_by_hand_is_used_as_it_is_and_children_do_not_count(make):
    own = make(name="Own", message="why")
    own.data = 42
    state = state_from_return(own, [of_run(Failed())])
    assert (state.type, state.name, state.message, state.data) == (own.type, "Own", "why", 42)


def test_a_state_made_by_hand_can_be_returned_by_many_runs():
    own = Completed(data=1)
    first, second = state_from_return(own, []), state_from_return(own, [])
    assert first is not own
    assert first is not second


@pytest.mark.parametrize(("inner", "type"), [(Completed(data=42), StateType.COMPLETED), (Failed(), StateType.FAILED)])
def test_the_state_of_a_run_is_judged_and_becomes_the_value(inner, type):
    inner = of_run(inner)
    state = state_from_return(inner, [])
    assert state.type is type
    assert state.data is inner


@pytest.mark.parametrize("container", [list, tuple, set, frozenset, lambda states: dict(enumerate(states))])
def test_a_container_of_states_is_judged_and_becomes_the_value(container):
    value = container([of_run(Completed()), Failed()])
    state = state_from_return(value, [])
    assert (state.type, state.message) == (StateType.FAILED, "1/2 states failed.")
    assert state.data is value


def test_a_container_of_states_and_other_things_is_a_value():
    assert state_from_return([of_run(Failed()), 42], []).is_completed()


@pytest.mark.parametrize(
    ("details", "by_hand"),
    [({}, True), ({"task_run_id": "x"}, False), ({"flow_run_id": "x"}, False), ({"cache_key": "x"}, True)],
)
def test_a_state_that_belongs_to_no_run_was_made_by_hand(details, by_hand):
    state = Completed()
    state.state_details = StateDetails(**details)
    assert made_by_hand(state) is by_hand
