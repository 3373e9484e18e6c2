"""`task.submit`: when a call starts, what it is given, and how a flow ends that has submitted some."""

import asyncio
import threading

import pytest

from tidemill import (
    SequentialTaskRunner,
    TaskRunFuture,
    ThreadPoolTaskRunner,
    flow,
    get_run_logger,
    runtime,
    task,
)
from tidemill.exceptions import DefinitionError
from tidemill.settings import using


def test_submit_gives_a_future_at_once():
    go = threading.Event()

    @task
    def wait_for_it():
        go.wait(60)
        return 1

    @flow
    def parent():
        future = wait_for_it.submit()
        assert isinstance(future, TaskRunFuture)
        assert not future.done()
        go.set()
        return future.result()

    assert parent() == 1


def test_the_value_itself_is_handed_over_within_the_process():
    value = object()

    @task
    def give(x):
        return x

    @flow
    def parent():
        return [give.submit(give.submit(value)).result() is value]

    assert parent() == [True]


def test_a_call_and_a_submission_are_numbered_together(recorded):
    @task
    def step(x):
        return x

    @flow
    def parent():
        step(1)
        future = step.submit(2)
        step(3)
        return future.name

    assert parent().endswith("-1")
    runs = sorted(recorded.task_runs(), key=lambda run: run["id"])
    assert [run["dynamic_key"] for run in runs] == ["0", "1", "2"]


def test_a_sequential_submission_has_ended_when_submit_returns():
    done = []

    @task
    def step(x):
        done.append((x, threading.get_ident()))
        return x

    @flow(task_runner=SequentialTaskRunner())
    def parent():
        first = step.submit(1)
        assert first.done()
        assert done == [(1, threading.get_ident())]
        assert step.submit(first).done()
        return 1

    parent()
    assert [x for x, _ in done] == [1, 1]


def test_sequential_tasks_of_an_async_flow_run_one_after_the_other():
    order = []

    @task
    async def step(x):
        order.append(("begins", x))
        await asyncio.sleep(0.001)
        order.append(("ends", x))
        if x == 1:
            raise LookupError("the next one runs all the same")

    @flow(task_runner=SequentialTaskRunner())
    async def parent():
        step.map([0, 1, 2])
        return "a value"

    asyncio.run(parent())
    assert order == [(what, x) for x in range(3) for what in ("begins", "ends")]


def test_async_tasks_of_an_async_flow_run_on_its_own_loop_and_overlap():
    inside, most, threads = 0, 0, set()

    @task
    async def step(x):
        nonlocal inside, most
        threads.add(threading.get_ident())
        inside += 1
        most = max(most, inside)
        while most < 20:
            await asyncio.sleep(0.001)
        inside -= 1
        return asyncio.get_running_loop()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    async def parent():
        loops = await step.map(range(20))
        return [set(loops) == {asyncio.get_running_loop()}]

    assert asyncio.run(parent()) == [True]
    assert threads == {threading.get_ident()}


def test_plain_tasks_of_an_async_flow_leave_its_loop_free():
    begun, go = threading.Event(), threading.Event()

    @task
    def step():
        begun.set()
        assert go.wait(60)
        return threading.get_ident()

    @flow
    async def parent():
        future = step.submit()
        while not begun.is_set():
            await asyncio.sleep(0.001)
        go.set()
        return await future

    assert asyncio.run(parent()) != threading.get_ident()


def test_an_async_task_of_a_plain_flow_has_a_loop_of_its_own():
    @task
    async def step(x):
        await asyncio.sleep(0)
        return x

    @flow
    def parent():
        return step.map([1, 2, 3]).result()

    assert parent() == [1, 2, 3]


def test_a_plain_flow_inside_a_running_loop_submits_too():
    @task
    def step(x):
        return x + 1

    @flow
    def parent():
        return step.submit(step.submit(1)).result()

    async def main():
        return parent()

    assert asyncio.run(main()) == 3


def test_arguments_are_taken_as_they_are_at_the_submission():
    go = threading.Event()

    @task
    def gate():
        go.wait(60)

    @task
    def read(values):
        return list(values)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def parent():
        held = gate.submit()
        future = read.submit((1, 2), wait_for=[held])
        go.set()
        return future.result()

    assert parent() == [1, 2]


def test_what_is_waited_for_may_be_given_in_any_iterable():
    order = []

    @task
    def note(x):
        order.append(x)

    @flow
    def parent():
        first = note.submit(1)
        for wait_for in (first, [first], (first,), {first}, iter([first]), [], None):
            note.submit(2, wait_for=wait_for).wait()

    parent()
    assert order == [1] + [2] * 7


def test_values_that_are_no_futures_may_be_waited_for():
    @task
    def note(x):
        return x

    @flow
    def parent():
        return note.submit(1, wait_for=[note(2), "text", None]).result()

    assert parent() == 1


def test_nested_futures_to_wait_for_count():
    @task
    def fail():
        raise LookupError

    @task
    def note():
        return 1

    @flow
    def parent():
        future = note.submit(wait_for=[[fail.submit()]])
        future.wait()
        return [future.state.name]

    assert parent() == ["NotReady"]


def test_a_state_as_argument_is_an_argument_like_any_other():
    @task
    def step(x):
        return x if isinstance(x, int) else x.result()

    @flow
    def parent():
        return step.submit(step.submit(5, return_state=True)).result()

    assert parent() == 5


def test_what_was_submitted_while_the_flow_ends_is_finished_too(recorded):
    @task
    def step(n):
        return step.submit(n - 1) if n else 0

    @flow
    def parent():
        step.submit(20)
        return "done"

    assert parent() == "done"
    assert [run["state_type"] for run in recorded.task_runs()] == ["COMPLETED"] * 21


def test_nothing_is_recorded_as_done_before_it_is_durable(recorded):
    """When a result is seen, the record can be read by anybody."""

    @task
    def step(x):
        return x

    @flow
    def parent():
        seen = []
        for x in range(20):
            future = step.submit(x)
            future.result()
            seen.append({run["id"]: run["state_type"] for run in recorded.task_runs()}[future.task_run_id])
        return seen

    assert parent() == ["COMPLETED"] * 20


@pytest.mark.parametrize("durability", ["process", "power", "relaxed"])
def test_every_durability(durability, recorded):
    @task
    def step(x):
        return x

    @flow
    def parent():
        return sum(step.map(range(50)).result())

    with using(durability=durability):
        assert parent() == sum(range(50))
    assert {run["state_type"] for run in recorded.task_runs()} == {"COMPLETED"}


def test_the_logger_of_a_submitted_task_is_its_own(recorded):
    @task
    def speak(x):
        get_run_logger().info("I am %s", runtime.task_run.name)

    @flow
    def parent():
        speak.map(range(10)).wait()

    parent()
    for run in recorded.task_runs():
        assert f"I am {run['name']}" in [log["message"] for log in recorded.logs(task_run=run)]


def test_a_name_that_cannot_be_made_is_an_error_where_it_is_asked_for(recorded):
    @task(task_run_name="load {nothing}")
    def load(table):
        return table

    @flow
    def parent():
        with pytest.raises(DefinitionError):
            load.submit("tea").result()
        return 1

    assert parent() == 1
