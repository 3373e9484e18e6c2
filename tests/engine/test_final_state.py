"""A flow's final state follows from what it returns."""

import pytest

from tidemill import flow, task
from tidemill.exceptions import CancelledRun, CrashedRun, FailedRun, UnfinishedRun
from tidemill.states import Cancelled, Completed, Crashed, Failed, Paused, Pending, Running


def finish(colour, value, **call):
    """Runs a flow that returns this value."""

    @flow
    @colour.paint
    async def ending():
        return value

    return colour.run(ending, **call)


def make_task(colour):
    @task
    @colour.paint
    async def ending(how="well"):
        if how != "well":
            raise LookupError(how)
        return how

    return ending


def run_tasks(colour, *hows, shape=list):
    """Runs a flow that returns the states of task runs that ended so, in a collection."""
    ending = make_task(colour)

    @flow
    @colour.paint
    async def parent():
        return shape([await colour.call(ending, how, return_state=True) for how in hows])

    return colour.run(parent, return_state=True)


def by_name(states):
    return {str(n): state for n, state in enumerate(states)}


@pytest.mark.parametrize("value", [42, "text", None, [], {}, [1, 2], {"a": 1}, False], ids=repr)
def test_any_other_value_completes_the_run(colour, value):
    state = finish(colour, value, return_state=True)
    assert state.is_completed()
    assert str(state) == "Completed()"
    assert state.result() == value


def test_a_completed_state_made_by_hand_is_used_as_it_is(colour, recorded):
    state = finish(colour, Completed(message="all good", name="Perfect", data=42), return_state=True)
    assert (state.name, state.message, state.result()) == ("Perfect", "all good", 42)
    assert finish(colour, Completed(data=42)) == 42
    assert "Perfect" in {run["state_name"] for run in recorded.flow_runs()}


@pytest.mark.parametrize(
    ("made", "error"),
    [(Failed, FailedRun), (Crashed, CrashedRun), (Cancelled, CancelledRun)],
    ids=["failed", "crashed", "cancelled"],
)
def test_a_state_made_by_hand_that_tells_of_no_success_raises(colour, made, error):
    with pytest.raises(error, match="no luck"):
        finish(colour, made(message="no luck"))
    state = finish(colour, made(message="no luck"), return_state=True)
    assert (state.type, state.message) == (made().type, "no luck")


def test_a_failed_state_made_by_hand_raises_the_exception_it_carries(colour):
    with pytest.raises(LookupError, match="gone"):
        finish(colour, Failed(data=LookupError("gone")))


@pytest.mark.parametrize("shape", [list, tuple, set, by_name], ids=["list", "tuple", "set", "dict"])
def test_states_in_a_collection_are_judged_together(colour, shape):
    state = run_tasks(colour, "well", "well", shape=shape)
    assert str(state) == "Completed('All states completed.')"
    states = state.result()
    assert type(states) is type(shape([]))
    assert [each.result() for each in (states.values() if shape is by_name else states)] == ["well", "well"]


@pytest.mark.parametrize("shape", [list, tuple, set, by_name], ids=["list", "tuple", "set", "dict"])
def test_one_failure_in_a_collection_fails_the_run(colour, shape):
    state = run_tasks(colour, "well", "badly", shape=shape)
    assert str(state) == "Failed('1/2 states failed.')"
    with pytest.raises(LookupError, match="badly"):
        state.result()


def test_all_failures_are_counted(colour):
    assert run_tasks(colour, "badly", "well", "worse").message == "2/3 states failed."


def test_a_single_state_of_a_run_is_judged_too(colour):
    def only(states):
        return states[0]

    state = run_tasks(colour, "well", shape=only)
    assert str(state) == "Completed('All states completed.')"
    assert state.result().result() == "well"
    assert str(run_tasks(colour, "badly", shape=only)) == "Failed('1/1 states failed.')"


def test_states_made_by_hand_are_judged_together_when_there_are_several(colour):
    assert finish(colour, [Completed(), Failed()], return_state=True).message == "1/2 states failed."
    assert finish(colour, [Completed(), Pending()], return_state=True).message == "1/2 states are not final."


def test_a_state_that_is_not_final_gives_no_value(colour):
    with pytest.raises(UnfinishedRun):
        finish(colour, [Completed(), Pending()])


@pytest.mark.parametrize("made", [Pending, Running, Paused], ids=lambda made: made.__name__)
def test_a_flow_that_returns_a_state_that_is_not_final_ends_all_the_same(colour, made, recorded):
    finish(colour, made(), return_state=True)
    assert recorded.flow_run()["end_time"] is not None


def test_states_mixed_with_values_are_a_value(colour):
    state = finish(colour, [Completed(data=1), 2], return_state=True)
    assert str(state) == "Completed()"
    assert state.result()[1] == 2


def judge_none(colour, *hows, subflows=()):
    """Runs a flow that returns None after task runs and subflow runs that nobody looked at."""
    ending = make_task(colour)

    @flow
    @colour.paint
    async def below(how):
        return Completed(data=how) if how == "well" else Failed(message=how)

    @flow
    @colour.paint
    async def parent():
        for how in hows:
            await colour.call(ending, how, return_state=True)
        for how in subflows:
            await colour.call(below, how, return_state=True)

    return colour.run(parent, return_state=True)


def test_none_is_judged_by_all_task_runs_in_their_order(colour):
    state = judge_none(colour, "well", "well")
    assert str(state) == "Completed('All states completed.')"
    assert [each.result() for each in state.result()] == ["well", "well"]


def test_a_failure_nobody_looked_at_fails_the_flow(colour, recorded):
    state = judge_none(colour, "well", "badly", "well")
    assert str(state) == "Failed('1/3 states failed.')"
    with pytest.raises(LookupError, match="badly"):
        state.result()
    assert recorded.flow_run()["state"]["message"] == "1/3 states failed."


def test_a_failure_that_was_caught_fails_a_flow_that_returns_none(colour):
    ending = make_task(colour)

    @flow
    @colour.paint
    async def parent():
        try:
            await colour.call(ending, "badly")
        except LookupError:
            pass

    with pytest.raises(LookupError):
        colour.run(parent)


def test_a_failure_that_was_caught_does_not_fail_a_flow_that_returns_something(colour):
    ending = make_task(colour)

    @flow
    @colour.paint
    async def parent():
        await colour.call(ending, "badly", return_state=True)
        return "fine"

    assert colour.run(parent) == "fine"


def test_none_is_judged_by_subflow_runs_too(colour):
    assert str(judge_none(colour, subflows=["well"])) == "Completed('All states completed.')"
    assert str(judge_none(colour, "well", subflows=["well", "badly"])) == "Failed('1/3 states failed.')"


def test_none_after_nothing_is_none(colour):
    assert judge_none(colour).result() is None


def test_a_tasks_own_state_is_kept_as_its_result(colour):
    @task
    @colour.paint
    async def by_hand():
        return Failed(message="by hand")

    with pytest.raises(FailedRun, match="by hand"):
        colour.run(by_hand)
    assert colour.run(by_hand, return_state=True).message == "by hand"


def test_all_task_runs_count_also_those_of_inner_tasks_that_failed(colour):
    ending = make_task(colour)

    @task
    @colour.paint
    async def outer():
        await colour.call(ending, "badly", return_state=True)
        return "fine"

    @flow
    @colour.paint
    async def parent():
        await colour.call(outer)

    assert str(colour.run(parent, return_state=True)) == "Failed('1/2 states failed.')"
