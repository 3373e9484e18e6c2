"""`TaskRunFuture` and its list: results, states, time limits, callbacks, and waiting for many."""

import copy
import gc
import threading
import traceback
import weakref

import pytest

from tidemill import State, TaskRunFuture, ThreadPoolTaskRunner, as_completed, flow, task, wait
from tidemill.exceptions import UnfinishedRun


@task
def pass_on(x):
    return x


@task
def fall(text="gone"):
    raise LookupError(text)


def in_flow(function):
    """Calls a function inside a flow; it may leave failed task runs behind."""

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
    def parent():
        function()
        return "done"

    assert parent() == "done"


# One


def test_the_result_of_a_run_that_goes_on_is_waited_for(gate):
    def body():
        future = gate.task.submit(7)
        gate.begun.wait(60)
        assert not future.done()
        assert future.state.is_running()
        threading.Timer(0.05, gate.open.set).start()
        assert future.result() == 7
        assert future.done()

    in_flow(body)


def test_a_time_limit_of_a_result(gate):
    def body():
        future = gate.task.submit(7)
        with pytest.raises(TimeoutError, match=r"Task run 'gate-\w+-0' has not ended within 0\.01 seconds; it goes on\."):
            future.result(timeout=0.01)
        with pytest.raises(TimeoutError):
            future.result(timeout=0)
        gate.open.set()
        assert future.result(timeout=60) == 7
        assert future.result(timeout=0) == 7

    in_flow(body)


def test_a_time_limit_of_waiting(gate):
    def body():
        future = gate.task.submit(7)
        assert future.wait(timeout=0.01) is None
        assert future.wait(0) is None
        gate.open.set()
        state = future.wait(60)
        assert isinstance(state, State)
        assert state.result() == 7
        assert future.wait(0) is state is future.state

    in_flow(body)


def test_the_exception_is_the_tasks_own_each_time():
    def body():
        future = fall.submit()
        with pytest.raises(LookupError, match="gone") as first:
            future.result()
        with pytest.raises(LookupError, match="gone") as second:
            future.result()
        assert first.value is second.value is future.result(raise_on_failure=False)
        assert future.state.is_failed()
        assert future.wait().result(raise_on_failure=False) is first.value

    in_flow(body)


def test_a_traceback_does_not_grow_with_every_look():
    def body():
        future = fall.submit()
        lengths = []
        for _ in range(50):
            try:
                future.result()
            except LookupError as error:
                lengths.append(len(list(traceback.walk_tb(error.__traceback__))))
        assert max(lengths) == lengths[0]

    in_flow(body)


def test_what_never_started_says_why():
    def body():
        future = pass_on.submit(fall.submit())
        with pytest.raises(UnfinishedRun, match=r"'pass_on-\w+-0' never started: Upstream task run 'fall-\w+-0' did not reach"):
            future.result()
        assert isinstance(future.result(raise_on_failure=False), UnfinishedRun)
        assert future.done()
        assert future.state.name == "NotReady"

    in_flow(body)


def test_a_future_shows_its_run_and_its_state(gate):
    def body():
        future = gate.task.submit()
        gate.begun.wait(60)
        assert repr(future) == f"<TaskRunFuture {future.name!r} Running>"
        gate.open.set()
        future.wait()
        assert repr(future) == f"<TaskRunFuture {future.name!r} Completed>"

    in_flow(body)


def test_a_future_is_itself_in_sets_and_dicts():
    def body():
        one, other = pass_on.map([1, 1])
        assert one != other
        assert {one: 1, other: 2}[one] == 1

    in_flow(body)


def test_a_settled_future_holds_nothing_but_its_value():
    class Big:
        pass

    @task
    def take(big):
        return 1

    kept = []

    def body():
        big = Big()
        kept.append(weakref.ref(big))
        kept.append(take.submit(big))
        kept[1].wait()

    in_flow(body)
    gc.collect()
    assert kept[0]() is None
    assert kept[1].result() == 1


# Callbacks


def test_a_callback_is_called_once_with_the_future(gate):
    called = []

    def body():
        future = gate.task.submit(7)
        future.add_done_callback(called.append)
        future.add_done_callback(called.append)
        assert called == []
        gate.open.set()
        assert future.result() == 7

    in_flow(body)
    assert len(called) == 2
    assert all(isinstance(one, TaskRunFuture) and one.result() == 7 for one in called)


def test_a_callback_of_a_done_future_is_called_at_once():
    def body():
        future = pass_on.submit(1)
        future.wait()
        called = []
        future.add_done_callback(lambda one: called.append((one, threading.get_ident())))
        assert called == [(future, threading.get_ident())]

    in_flow(body)


def test_a_callback_that_fails_harms_nobody(gate, caplog):
    called = []

    def broken(_):
        raise RuntimeError("callback broke")

    def body():
        future = gate.task.submit(7)
        future.add_done_callback(broken)
        future.add_done_callback(called.append)
        gate.open.set()
        assert future.result() == 7

    in_flow(body)
    assert len(called) == 1
    assert "callback broke" in caplog.text


def test_a_callback_may_submit_another_task(wait_until):
    following = []

    def body():
        future = pass_on.submit(1)
        future.add_done_callback(lambda one: following.append(pass_on.submit(one.result() + 1)))
        wait_until(lambda: following)
        assert following[0].result() == 2

    in_flow(body)


def test_callbacks_are_called_for_what_never_started():
    called = []

    def body():
        future = pass_on.submit(fall.submit())
        future.add_done_callback(lambda one: called.append(one.state.name))
        future.wait()

    in_flow(body)
    assert called == ["NotReady"]


# Many


def test_results_of_a_list():
    def body():
        futures = pass_on.map([1, 2, 3])
        assert futures.result() == [1, 2, 3]
        assert futures.result(timeout=0) == [1, 2, 3]

    in_flow(body)


def test_a_list_with_failures():
    @task
    def invert(x):
        return 1 / x

    def body():
        futures = invert.map([1, 0, 2])
        with pytest.raises(ZeroDivisionError):
            futures.result()
        assert [type(value).__name__ for value in futures.result(raise_on_failure=False)] == [
            "float",
            "ZeroDivisionError",
            "float",
        ]

    in_flow(body)


def test_a_time_limit_of_a_list_is_one_for_all(gate):
    def body():
        futures = gate.task.map([1, 2, 3])
        with pytest.raises(TimeoutError):
            futures.result(timeout=0.02)
        futures.wait(0.01)
        assert not futures[0].done()
        gate.open.set()
        assert futures.result(timeout=60) == [1, 2, 3]

    in_flow(body)


def test_wait_tells_the_done_from_the_others(gate):
    def body():
        quick, slow = pass_on.submit(1), gate.task.submit(2)
        quick.wait()
        outcome = wait([slow, quick], timeout=0.01)
        assert outcome.done == {quick}
        assert outcome.not_done == {slow}
        gate.open.set()
        done, not_done = wait(iter([slow, quick]))
        assert done == {quick, slow}
        assert not_done == set()

    in_flow(body)


def test_waiting_for_nothing_returns_at_once():
    assert wait([]) == (set(), set())
    assert list(as_completed([])) == []


def test_a_failed_one_is_done_too():
    def body():
        failed, unready = fall.submit(), None
        unready = pass_on.submit(failed)
        assert wait([failed, unready]).done == {failed, unready}
        assert set(as_completed([failed, unready])) == {failed, unready}

    in_flow(body)


def test_as_completed_gives_them_as_they_end(new_gate):
    gates = [new_gate() for _ in range(3)]

    def body():
        futures = [one.task.submit(x) for x, one in enumerate(gates)]
        given = as_completed(iter(futures))
        for x in (2, 0, 1):
            gates[x].open.set()
            assert next(given) is futures[x]
        with pytest.raises(StopIteration):
            next(given)

    in_flow(body)


def test_as_completed_gives_one_as_often_as_it_was_asked_for():
    def body():
        future = pass_on.submit(1)
        assert list(as_completed([future, future])) == [future, future]

    in_flow(body)


def test_a_time_limit_of_as_completed(gate):
    def body():
        quick, slow = pass_on.submit(1), gate.task.submit(2)
        quick.wait()
        given = as_completed([quick, slow], timeout=0.2)
        assert next(given) is quick
        with pytest.raises(TimeoutError, match=r"1 of 2 task runs have not ended within 0\.2 seconds"):
            next(given)
        gate.open.set()

    in_flow(body)


def test_many_threads_wait_for_one(gate):
    def body():
        future = gate.task.submit(7)
        given = []
        threads = [threading.Thread(target=lambda: given.append(future.result())) for _ in range(20)]
        for thread in threads:
            thread.start()
        gate.open.set()
        for thread in threads:
            thread.join(60)
        assert given == [7] * 20

    in_flow(body)


def test_a_plain_copy_of_a_list_of_futures_works():
    def body():
        futures = pass_on.map([1, 2])
        assert [future.result() for future in copy.copy(futures)] == [1, 2]
        assert [future.result() for future in futures[::-1]] == [2, 1]

    in_flow(body)
