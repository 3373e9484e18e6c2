"""The thread pool itself: its options, several of them at once, threads of the user, and how tasks end in it."""

import contextvars
import functools
import threading
import time

import pytest

from tidemill import (
    SequentialTaskRunner,
    ThreadPoolTaskRunner,
    flow,
    runtime,
    task,
)
from tidemill.exceptions import DefinitionError


def on_threads(max_workers):
    return functools.partial(flow, task_runner=ThreadPoolTaskRunner(max_workers=max_workers))


def workers():
    """The threads that execute tasks now."""
    return [thread for thread in threading.enumerate() if thread.name == "tidemill-worker"]


# The runner itself


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "4", True, float("inf"), [2]], ids=repr)
def test_a_number_of_workers_that_is_none_is_refused(wrong):
    with pytest.raises(DefinitionError, match="max_workers must be a whole number of at least 1"):
        ThreadPoolTaskRunner(max_workers=wrong)


def test_a_runner_shows_what_it_is():
    assert repr(ThreadPoolTaskRunner(max_workers=3)) == "ThreadPoolTaskRunner(max_workers=3)"
    assert repr(SequentialTaskRunner()) == "SequentialTaskRunner()"


@pytest.mark.parametrize("wrong", [int, "threads", 4], ids=repr)
def test_a_task_runner_that_is_none_is_refused(wrong):
    with pytest.raises(DefinitionError, match="task_runner"):

        @flow(task_runner=wrong)
        def parent():
            return 1


def test_two_flow_runs_at_once_do_not_share_workers(new_gauge):
    gauge = new_gauge(wanted=4)

    @task
    def sleepy(x):
        with gauge:
            return x

    @on_threads(2)
    def two():
        return sleepy.map(range(2)).result()

    given = []
    threads = [threading.Thread(target=lambda: given.append(two())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert given == [[0, 1]] * 2


def test_a_subflow_has_workers_of_its_own():
    go = threading.Event()

    @task
    def slow():
        go.wait(60)

    @task
    def quick():
        go.set()
        return 1

    @flow
    def below():
        return quick.submit().result()

    @on_threads(1)
    def parent():
        future = slow.submit()
        value = below()
        future.result()
        return value

    assert parent() == 1


def test_context_variables_are_those_of_the_place_of_submission():
    wanted = contextvars.ContextVar("wanted", default="nothing")

    @task
    def read():
        found = wanted.get()
        wanted.set("changed inside")
        return found

    @on_threads(1)
    def parent():
        futures = []
        for word in ["tea", "milk"]:
            wanted.set(word)
            futures.append(read.submit())
        return [future.result() for future in futures], wanted.get()

    assert parent() == (["tea", "milk"], "milk")


# Outside a flow, and in threads of the user's


def test_a_task_is_submitted_outside_a_flow(recorded):
    @task
    def step(x):
        return x + 1

    future = step.submit(step.submit(1))
    assert future.result() == 3
    assert {(run["state_type"], run["flow_run_id"]) for run in recorded.task_runs()} == {("COMPLETED", None)}


def test_a_thread_of_the_users_submits_to_the_flow_whose_context_it_has(recorded):
    @task
    def step(x):
        return runtime.flow_run.id

    @flow
    def parent():
        given = []
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: context.run(lambda: given.append(step.submit(1).result())))
        thread.start()
        thread.join(60)
        return given

    assert parent() == [recorded.flow_run()["id"]]
    assert recorded.task_run()["flow_run_id"] == recorded.flow_run()["id"]


def test_many_threads_of_the_users_submit_at_once(recorded):
    @task
    def step(x):
        return x

    @on_threads(4)
    def parent():
        given = []

        def submit(start):
            given.extend(step.map(range(start, start + 50)).result())

        threads = []
        for start in range(0, 400, 50):
            context = contextvars.copy_context()
            threads.append(threading.Thread(target=context.run, args=(submit, start)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return sorted(given)

    assert parent() == list(range(400))
    runs = recorded.task_runs(limit=1000)
    assert len({run["name"] for run in runs}) == len(runs) == 400


def test_a_future_of_one_flow_run_is_an_argument_in_another(recorded):
    @task
    def give():
        return 7

    @task
    def take(x):
        return x + 1

    @flow
    def below(future):
        return take.submit(future).result()

    @flow
    def parent():
        future = give.submit()
        outer.append(future)
        return below(future)

    outer = []
    assert parent() == 8
    assert take.submit(outer[0]).result() == 8


def test_a_future_is_good_after_its_flow_run():
    kept = []

    @task
    def step(x):
        return [x]

    @flow
    def parent():
        kept.append(step.submit(1))
        return 1

    parent()
    assert kept[0].done()
    assert kept[0].result() == [1]
    assert kept[0].wait(0).result() == [1]
    assert kept[0].name.startswith("step-")


# Ends


def test_a_crash_of_one_task_leaves_the_others(recorded):
    @task
    def leave(x):
        if x == 1:
            raise SystemExit(3)
        if x == 2:
            raise KeyboardInterrupt
        if x == 3:
            raise GeneratorExit
        return x

    @on_threads(1)
    def parent():
        futures = leave.map(range(5))
        futures.wait()
        return [future.state.type.value for future in futures]

    assert parent() == ["COMPLETED", "CRASHED", "CRASHED", "CRASHED", "COMPLETED"]


def test_a_flow_that_looks_at_a_crashed_task_gets_what_ended_it(recorded):
    @task
    def leave():
        raise SystemExit(3)

    @on_threads(1)
    def parent():
        leave.submit().result()

    with pytest.raises(SystemExit) as caught:
        parent()
    assert caught.value.code == 3
    assert recorded.flow_run()["state_type"] == "CRASHED"
    assert recorded.task_run()["state_type"] == "CRASHED"


def test_a_flows_time_limit_drops_what_has_not_started(recorded):
    begun = []

    @task
    def step(x):
        begun.append(x)
        while flow_is_going_on.is_set():
            time.sleep(0.001)
        return x

    flow_is_going_on = threading.Event()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1), timeout_seconds=0.5)
    def parent():
        flow_is_going_on.set()
        step.map(range(3))
        try:
            while True:
                time.sleep(0.001)
        finally:
            threading.Timer(0.5, flow_is_going_on.clear).start()  # by then the rest has been dropped

    state = parent(return_state=True)
    assert (state.type.value, state.name) == ("FAILED", "TimedOut")
    assert begun == [0]
    runs = sorted(recorded.task_runs(), key=lambda run: run["id"])
    assert [run["state_type"] for run in runs] == ["COMPLETED", "CANCELLED", "CANCELLED"]
