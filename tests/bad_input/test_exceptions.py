"""Odd exceptions: the caller gets the very exception, the record stays readable and small."""

import threading

import pytest

from tidemill import flow, task


@pytest.fixture(params=[flow, task], ids=["flow", "task"])
def decorator(request):
    return request.param


def fails_with(decorator, error):
    """A flow or task that raises this, and its one run as recorded after the call."""

    @decorator
    def fail():
        raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    return fail


def kept(recorded, decorator):
    return recorded.flow_run() if decorator is flow else recorded.task_run()


class Unpicklable(Exception):
    def __init__(self, code, lock):
        super().__init__(f"code {code}")
        self.lock = lock


class Stubborn(Exception):
    """Pickles, and cannot be unpickled: its arguments are not what its constructor takes."""

    def __init__(self, code, *, reason):
        super().__init__(f"{code}: {reason}")


class Mute(Exception):
    def __str__(self):
        raise ZeroDivisionError("in str")

    __repr__ = __str__


def test_an_exception_that_cannot_be_pickled(decorator, recorded):
    fails_with(decorator, Unpicklable(5, threading.Lock()))
    assert kept(recorded, decorator)["state_type"] == "FAILED"


def test_an_exception_that_cannot_be_unpickled(decorator, recorded):
    fails_with(decorator, Stubborn(5, reason="why"))
    assert kept(recorded, decorator)["state_type"] == "FAILED"


def test_the_state_of_such_a_run_has_the_very_exception():
    error = Unpicklable(5, threading.Lock())

    @task
    def fail():
        raise error

    assert fail(return_state=True).result(raise_on_failure=False) is error


def test_an_exception_group(decorator, recorded):
    error = ExceptionGroup("several", [LookupError("one"), ExceptionGroup("more", [ValueError("two")])])
    fails_with(decorator, error)
    run = kept(recorded, decorator)
    assert run["state_type"] == "FAILED"
    logged = "\n".join(log["message"] for log in recorded.logs(**({"task_run": run} if decorator is task else {})))
    assert all(word in logged for word in ("several", "LookupError: one", "ValueError: two"))


def test_an_exception_group_can_be_taken_apart_by_the_caller():
    @task
    def fail():
        raise ExceptionGroup("several", [LookupError("one"), ValueError("two")])

    caught = []
    try:
        fail()
    except* LookupError as group:
        caught += group.exceptions
    except* ValueError as group:
        caught += group.exceptions
    assert [str(error) for error in caught] == ["one", "two"]


def test_an_exception_with_a_message_of_ten_megabytes(decorator, recorded, home, capsys):
    message = "x" * 10_000_000
    fails_with(decorator, ValueError(message))
    run = kept(recorded, decorator)
    assert run["state_type"] == "FAILED"
    assert len(str(run)) < 2_000_000
    logs = recorded.logs(**({"task_run": run} if decorator is task else {}))
    assert sum(len(log["message"]) for log in logs) < 2_000_000


def test_an_exception_that_cannot_be_shown(decorator, recorded):
    fails_with(decorator, Mute())
    assert kept(recorded, decorator)["state_type"] == "FAILED"


@pytest.mark.parametrize("message", ["\ud800 alone", "zero\x00byte", "\x1b[31mred", "line\nline"], ids=ascii)
def test_an_exception_with_odd_characters(decorator, recorded, message):
    fails_with(decorator, ValueError(message))
    assert kept(recorded, decorator)["state_type"] == "FAILED"


def test_an_exception_that_is_its_own_cause(decorator, recorded):
    error = ValueError("round and round")
    other = LookupError("and round")
    error.__cause__, other.__cause__ = other, error
    fails_with(decorator, error)
    assert kept(recorded, decorator)["state_type"] == "FAILED"


def test_the_same_exception_raised_by_many_runs_does_not_grow():
    error = LookupError("again")

    @task
    def fail():
        raise error

    def frames():
        depth, traceback = 0, error.__traceback__
        while traceback:
            depth, traceback = depth + 1, traceback.tb_next
        return depth

    lengths = []
    for _ in range(3):
        error.__traceback__ = None
        with pytest.raises(LookupError):
            fail()
        lengths.append(frames())
    assert len(set(lengths)) == 1


def test_stop_iteration_from_a_task_reaches_the_caller():
    @task
    def stop():
        raise StopIteration(5)

    with pytest.raises(StopIteration) as caught:
        stop()
    assert caught.value.value == 5


def test_a_base_exception_of_the_users_own_is_a_crash(decorator, recorded):
    class Strange(BaseException):
        pass

    fails_with(decorator, Strange("from outer space"))
    run = kept(recorded, decorator)
    assert run["state_type"] == "CRASHED"
    assert run["end_time"] is not None


def test_assertion_errors_of_pytest_keep_their_text():
    @flow
    def check():
        left, right = {"a": 1}, {"a": 2}
        assert left == right

    with pytest.raises(AssertionError, match="'a': 1"):
        check()
