"""Futures and the flow around them: calls and subflows that wait for them, and flows that are judged by them."""

import pytest

from tidemill import flow, task
from tidemill.exceptions import UnfinishedRun
from tidemill.states import Completed, Failed

# A call with futures


def test_a_call_waits_for_its_futures(recorded):
    @task
    def add(x, y):
        return x + y

    @flow
    def parent():
        return add(add.submit(1, 2), y=add.submit(3, 4))

    assert parent() == 10
    run = max(recorded.task_runs(), key=lambda run: run["id"])
    assert len(run["task_inputs"]["x"]) == len(run["task_inputs"]["y"]) == 1


def test_a_call_downstream_of_a_failure_never_starts(recorded):
    @task
    def fail():
        raise LookupError("gone")

    @task
    def after(x):
        raise AssertionError("it cannot start")

    @flow
    def parent():
        failed = fail.submit()
        with pytest.raises(UnfinishedRun, match=r"'after-\w+-0' never started: Upstream task run 'fail-\w+-0' did not reach"):
            after(failed)
        state = after(1, wait_for=[failed], return_state=True)
        return [(state.type.value, state.name)]

    assert parent() == [("PENDING", "NotReady")]
    assert sorted(run["state_name"] for run in recorded.task_runs()) == ["Failed", "NotReady", "NotReady"]


def test_a_subflow_waits_for_its_futures(recorded):
    @task
    def give(x):
        return x

    @flow
    def below(x, values):
        return x, values

    @flow
    def parent():
        first = give.submit(1)
        return below(first, values=[first, 2], wait_for=[give.submit(3)])

    assert parent() == (1, [1, 2])
    assert recorded.flow_run(flow="below")["parameters"] == {"x": 1, "values": [1, 2]}


def test_a_subflow_downstream_of_a_failure_raises_it(recorded):
    @task
    def fail():
        raise LookupError("gone")

    @flow
    def below(x):
        return x

    @flow
    def parent():
        with pytest.raises(LookupError, match="gone"):
            below(fail.submit())
        return 1

    assert parent() == 1


# The end of the flow


def test_states_made_by_hand_and_futures_are_judged_together():
    @task
    def step(x):
        return x

    @flow
    def parent(state):
        return [step.submit(1), state]

    assert parent(Completed(data=2), return_state=True).message == "All states completed."
    assert str(parent(Failed(message="by hand"), return_state=True)) == "Failed('1/2 states failed.')"


def test_futures_among_other_values_are_only_values():
    @task
    def step(x):
        return x

    @flow
    def parent():
        return [step.submit(1), "text"]

    state = parent(return_state=True)
    assert state.is_completed()
    future, text = state.result()
    assert (future.result(), text) == (1, "text")


def test_a_flow_that_catches_a_failure_and_returns_a_value_completes():
    @task
    def fail():
        raise LookupError("gone")

    @flow
    def parent():
        try:
            fail.submit().result()
        except LookupError as error:
            return str(error)

    assert parent() == "gone"


def test_the_exception_of_a_submitted_task_fails_the_flow_that_does_not_catch_it(recorded):
    @task
    def fail():
        raise LookupError("gone")

    @flow
    def parent():
        return fail.submit().result()

    with pytest.raises(LookupError, match="gone"):
        parent()
    assert recorded.flow_run()["state_type"] == "FAILED"
    told = [log["message"] for log in recorded.logs() if log["message"].startswith("Encountered exception")]
    assert len(told) == 2
    assert all("/tidemill/" not in message for message in told), told
