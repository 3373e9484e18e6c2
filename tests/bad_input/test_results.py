"""Odd results: the caller still gets them, and the run says once that one was not kept."""

import sys
import threading

import pytest

from tidemill import flow, task
from tidemill.runtime import flow_run


class Unpicklable:
    """Cannot be kept."""

    def __reduce__(self):
        raise TypeError("not to be pickled")


def test_an_unpicklable_result_is_returned_and_said_once_in_the_log(recorded):
    value = Unpicklable()

    @task
    def give():
        return value

    @flow
    def parent():
        return [give() is value for _ in range(3)]

    assert parent() == [True, True, True]
    assert {run["state_type"] for run in recorded.task_runs()} == {"COMPLETED"}
    told = [log for log in recorded.logs() if "Unpicklable" in log["message"]]
    assert len(told) == 1
    assert "give" in told[0]["message"]
    assert "not kept" in told[0]["message"] or "not be kept" in told[0]["message"]


def test_an_unpicklable_result_of_a_flow_is_returned():
    @flow
    def give():
        return threading.Lock()

    assert isinstance(give(), type(threading.Lock()))


def test_an_unpicklable_result_is_in_the_state_that_is_returned():
    value = Unpicklable()

    @task
    def give():
        return value

    assert give(return_state=True).result() is value


def test_a_result_that_cannot_even_be_shown_is_returned():
    class Hidden:
        def __repr__(self):
            raise ZeroDivisionError("in repr")

    value = Hidden()

    @task
    def give():
        return value

    @flow
    def parent():
        return give(return_state=True)

    state = parent()
    assert state.result() is value
    assert "Hidden" in repr(state)


def test_a_task_that_returns_itself(recorded):
    @task
    def me():
        return me

    @flow
    def parent():
        return me()

    assert parent() is me
    assert recorded.task_run()["state_type"] == "COMPLETED"


def test_a_flow_that_returns_itself(recorded):
    @flow
    def me():
        return me

    assert me() is me
    assert recorded.flow_run()["state_type"] == "COMPLETED"


def test_a_task_that_returns_a_generator_object(recorded):
    @task
    def give():
        return (n for n in range(3))

    @flow
    def parent():
        return list(give())

    assert parent() == [0, 1, 2]
    assert recorded.task_run()["state_type"] == "COMPLETED"


def test_a_task_that_returns_a_large_result(recorded):
    @task
    def give():
        return b"x" * 20_000_000

    @flow
    def parent():
        return len(give())

    assert parent() == 20_000_000
    assert recorded.task_run()["state_type"] == "COMPLETED"


def test_a_task_that_returns_a_deeply_nested_result():
    nested = []
    for _ in range(100_000):
        nested = [nested]

    @task
    def give():
        return nested

    assert give() is nested


def test_a_plain_task_that_returns_a_coroutine_returns_it():
    async def later():
        return 1

    @task
    def give():
        return later()

    coroutine = give()
    coroutine.close()
    assert coroutine.cr_frame is None


def test_a_result_changed_after_the_task_ended_was_kept_as_it_was(recorded):
    @task
    def give():
        return [1]

    @flow
    def parent():
        value = give()
        value.append(2)
        return value

    assert parent() == [1, 2]


ENDLESS = """
import sys
from tidemill import flow, task
from tidemill.runtime import flow_run

depth = 0

@{decorator}
def endless():
    global depth
    depth += 1
    endless()

try:
    endless()
except RecursionError:
    print("depth", depth)
"""


@pytest.mark.parametrize("decorator", ["flow", "task"])
def test_recursion_without_end_ends_as_a_recursion_error_and_is_recorded(run_script, recorded, decorator):
    done = run_script(ENDLESS.format(decorator=decorator))
    assert done.returncode == 0, done.stderr[-2000:]
    depth = int(done.stdout.split()[1])
    assert depth > 10
    runs = recorded.flow_runs(limit=2000) if decorator == "flow" else recorded.task_runs(limit=2000)
    assert len(runs) >= depth - 1
    assert {run["state_type"] for run in runs} == {"FAILED"}


def test_recursion_beyond_the_limit_can_be_caught_and_the_engine_goes_on():
    @flow
    def endless():
        return endless()

    @flow
    def after():
        return flow_run.name

    with pytest.raises(RecursionError):
        endless()
    assert after()
    assert sys.getrecursionlimit() > 100
