"""Task runs on threads: many at once, none that starves, none left over."""

import contextvars
import functools
import threading
import time

import pytest

from tidemill import (
    SequentialTaskRunner,
    ThreadPoolTaskRunner,
    as_completed,
    flow,
    quote,
    runtime,
    task,
    wait,
)
from tidemill.exceptions import DefinitionError


def on_threads(max_workers):
    return functools.partial(flow, task_runner=ThreadPoolTaskRunner(max_workers=max_workers))


OUR_THREADS = {"tidemill-worker", "tidemill-attendant"}


def workers():
    """The threads that execute tasks now."""
    return [thread for thread in threading.enumerate() if thread.name == "tidemill-worker"]


class Gauge:
    """Counts how many are inside it at once, and lets nobody out before so many have been."""

    def __init__(self, wanted):
        self.most = self.inside = 0
        self._wanted = wanted
        self._changed = threading.Condition()

    def __enter__(self):
        with self._changed:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self.most >= self._wanted, timeout=60)

    def __exit__(self, *_):
        with self._changed:
            self.inside -= 1


# Many


@pytest.mark.slow
def test_a_chain_of_ten_thousand(recorded):
    @task
    def add_one(x):
        return x + 1

    @on_threads(4)
    def chain():
        last = 0
        for _ in range(10_000):
            last = add_one.submit(last)
        return last.result()

    assert chain() == 10_000


@pytest.mark.slow
def test_a_graph_of_a_hundred_layers_of_a_hundred():
    @task
    def add(a, b):
        return (a + b) % 1_000_003

    @on_threads(4)
    def layers():
        layer = add.map(range(100), range(100))
        for _ in range(99):
            layer = [add.submit(one, other) for one, other in zip(layer, [*layer[1:], layer[0]], strict=True)]
        return [future.result() for future in layer]

    expected = [2 * x for x in range(100)]
    for _ in range(99):
        expected = [(a + b) % 1_000_003 for a, b in zip(expected, [*expected[1:], expected[0]], strict=True)]
    assert layers() == expected


def test_one_that_all_wait_for_and_one_that_waits_for_all():
    @task
    def step(*numbers):
        return len(numbers)

    @on_threads(4)
    def fan():
        first = step.submit()
        return step.submit(*[step.submit(first) for _ in range(500)]).result()

    assert fan() == 500


@pytest.mark.parametrize("max_workers", [1, 2])
def test_tasks_that_submit_tasks_do_not_starve_the_pool(max_workers):
    @task
    def tree(depth):
        if not depth:
            return 1
        below = [tree.submit(depth - 1) for _ in range(2)]
        return sum(future.result() for future in below)

    @on_threads(max_workers)
    def grow():
        return tree.submit(6).result()

    assert grow() == 64


@pytest.mark.parametrize("max_workers", [1, 2])
@pytest.mark.parametrize("how", [wait, lambda futures: list(as_completed(futures)), lambda futures: futures.wait()])
def test_every_way_of_waiting_gives_way_to_others(max_workers, how):
    @task
    def leaf(x):
        return x

    @task
    def branch(x):
        futures = leaf.map([x, x + 1])
        how(futures)
        return sum(futures.result())

    @on_threads(max_workers)
    def grow():
        return sum(branch.map(range(8)).result())

    assert grow() == sum(2 * x + 1 for x in range(8))


def test_a_task_that_calls_a_task_with_a_future_gives_way_too():
    @task
    def leaf(x):
        return x

    @task
    def branch(x):
        return leaf(leaf.submit(x))

    @on_threads(1)
    def grow():
        return branch.map(range(5)).result()

    assert grow() == [0, 1, 2, 3, 4]


def test_a_subflow_that_submits_inside_a_task_does_not_starve():
    @task
    def leaf(x):
        return x

    @flow
    def below(x):
        return leaf.submit(x).result()

    @task
    def branch(x):
        return below(x)

    @on_threads(1)
    def grow():
        return branch.map(range(4)).result()

    assert grow() == [0, 1, 2, 3]


# How many at once


def test_tasks_overlap_up_to_the_number_of_workers():
    gauge = Gauge(wanted=50)

    @task
    def sleepy(x):
        with gauge:
            return x

    @on_threads(50)
    def many():
        return sleepy.map(range(200)).result()

    assert many() == list(range(200))
    assert gauge.most == 50


def test_by_default_many_overlap_too():
    gauge = Gauge(wanted=20)

    @task
    def sleepy(x):
        with gauge:
            return x

    @flow
    def many():
        return sleepy.map(range(20)).result()

    assert many() == list(range(20))


def test_one_worker_executes_one_at_a_time_in_the_order_of_submission():
    order, gauge = [], Gauge(wanted=1)

    @task
    def step(x):
        with gauge:
            order.append(x)

    @on_threads(1)
    def one_by_one():
        step.map(range(100)).wait()

    one_by_one()
    assert order == list(range(100))
    assert gauge.most == 1


def test_workers_that_waited_do_not_exceed_the_limit_afterwards():
    lock, inside, most = threading.Lock(), 0, 0
    go = threading.Event()

    @task
    def gate():
        go.wait(60)

    @task
    def waits(gate):
        gate.result()

    @task
    def work(x):
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.001)
        with lock:
            inside -= 1

    @on_threads(2)
    def parent():
        held = gate.submit()
        waiting = [waits.submit(quote(held)) for _ in range(20)]
        while not all(future.state.is_running() for future in waiting):
            time.sleep(0.001)
        later = work.map(range(100))
        go.set()
        later.wait()

    parent()
    assert most <= 3  # one that goes on from waiting may meet the one that was put in its place


def test_a_task_that_waits_for_its_inputs_holds_no_thread():
    begun, go = threading.Event(), threading.Event()

    @task
    def slow():
        begun.set()
        go.wait(60)
        return 1

    @task
    def after(x):
        return x

    @on_threads(8)
    def parent():
        first = slow.submit()
        waiting = [after.submit(first) for _ in range(100)]
        begun.wait(60)
        assert after.submit("free").result() == "free"  # whoever might have taken a worker has had its chance
        busy = len(workers())
        assert all(future.state.is_pending() for future in waiting)
        go.set()
        return busy, sum(future.result() for future in waiting)

    busy, total = parent()
    assert total == 100
    assert busy < 8  # a hundred that wait in threads would have taken all


def test_no_thread_is_left_when_the_flow_has_ended(wait_until):
    before = set(threading.enumerate())

    @task
    def step(x):
        return x

    @on_threads(8)
    def parent():
        return step.map(range(100)).result()

    parent()
    wait_until(lambda: not [one for one in threading.enumerate() if one not in before and one.name in OUR_THREADS], 30)


def test_no_thread_is_made_by_a_flow_that_submits_nothing():
    before = set(threading.enumerate())

    @task
    def step():
        return [one.name for one in threading.enumerate() if one not in before]

    @flow
    def parent():
        return step()

    assert not OUR_THREADS.intersection(parent())


def test_a_deep_recursion_of_tasks_on_one_worker():
    @task
    def down(n):
        return down.submit(n - 1).result() + 1 if n else 0

    @on_threads(1)
    def dive():
        return down.submit(100).result()

    assert dive() == 100


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


def test_two_flow_runs_at_once_do_not_share_workers():
    gauge = Gauge(wanted=4)

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

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1), timeout_seconds=0.2)
    def parent():
        flow_is_going_on.set()
        step.map(range(3))
        try:
            while True:
                time.sleep(0.001)
        finally:
            threading.Timer(0.3, flow_is_going_on.clear).start()  # by then the rest has been dropped

    state = parent(return_state=True)
    assert (state.type.value, state.name) == ("FAILED", "TimedOut")
    assert begun == [0]
    runs = sorted(recorded.task_runs(), key=lambda run: run["id"])
    assert [run["state_type"] for run in runs] == ["COMPLETED", "CANCELLED", "CANCELLED"]
