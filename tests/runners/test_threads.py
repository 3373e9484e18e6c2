"""Task runs on threads: many at once, none that starves, none left over."""

import functools
import threading
import time

import pytest

from tidemill import (
    ThreadPoolTaskRunner,
    as_completed,
    flow,
    quote,
    task,
    wait,
)


def on_threads(max_workers):
    return functools.partial(flow, task_runner=ThreadPoolTaskRunner(max_workers=max_workers))


OUR_THREADS = {"tidemill-worker", "tidemill-attendant"}


def workers():
    """The threads that execute tasks now."""
    return [thread for thread in threading.enumerate() if thread.name == "tidemill-worker"]


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


def test_tasks_overlap_up_to_the_number_of_workers(new_gauge):
    gauge = new_gauge(wanted=50)

    @task
    def sleepy(x):
        with gauge:
            return x

    @on_threads(50)
    def many():
        return sleepy.map(range(200)).result()

    assert many() == list(range(200))
    assert gauge.most == 50


def test_by_default_many_overlap_too(new_gauge):
    gauge = new_gauge(wanted=20)

    @task
    def sleepy(x):
        with gauge:
            return x

    @flow
    def many():
        return sleepy.map(range(20)).result()

    assert many() == list(range(20))


def test_one_worker_executes_one_at_a_time_in_the_order_of_submission(new_gauge):
    order, gauge = [], new_gauge(wanted=1)

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
