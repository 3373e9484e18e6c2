"""What a submitted task gives and what is recorded of it is the same on every task runner. No test that asks for `on` shares
memory with its tasks: what they do beside giving a value goes into files.
"""

import dataclasses
import threading
import uuid

import pytest

from tidemill import (
    State,
    get_run_logger,
    runtime,
    tags,
)
from tidemill.client import connect
from tidemill.colour import BlockingIO, run_blocking
from tidemill.exceptions import SerializationError
from tidemill.states import StateType

# Values and exceptions


VALUES = [None, 0, "", [], {"a": [1]}, (1, 2), {1, 2}, 1.5, b"\x00", 2**70, range(3)]


def test_values_go_in_and_come_back(on):
    @on.task
    async def give(value):
        return value

    @on.flow
    async def parent():
        return [await on.value(give.submit(value)) for value in VALUES]

    given = on.run(parent)
    assert given == VALUES
    assert [type(value) for value in given] == [type(value) for value in VALUES]


def test_an_exception_that_is_returned_is_a_value(on):
    @on.task
    async def give():
        return ValueError("a value")

    @on.flow
    async def parent():
        return [await on.value(give.submit())]

    (given,) = on.run(parent)
    assert repr(given) == "ValueError('a value')"


def test_an_object_of_a_class_of_the_users_comes_back(on):
    @dataclasses.dataclass
    class Point:
        x: int
        y: int

    @on.task
    async def move(point):
        return Point(point.x + 1, point.y + 1)

    @on.flow
    async def parent():
        return await on.value(move.submit(Point(1, 2)))

    assert on.run(parent) == Point(2, 3)


def test_an_exception_is_raised_where_the_value_is_asked_for(on, recorded):
    @on.task
    async def fail():
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError as cause:
            error = LookupError("gone", 7)
            error.add_note("look under the sofa")
            raise error from cause

    @on.flow
    async def parent():
        future = fail.submit()
        with pytest.raises(LookupError) as caught:
            await on.value(future)
        return repr(caught.value), caught.value.__notes__[0], type(caught.value).__name__

    assert on.run(parent) == ("LookupError('gone', 7)", "look under the sofa", "LookupError")
    run = recorded.task_run()
    assert (run["state_type"], run["state_name"]) == ("FAILED", "Failed")
    assert run["state"]["message"] == "Task run encountered an exception."
    (told,) = (log["message"] for log in recorded.logs(task_run=run) if log["message"].startswith("Encountered"))
    assert told.startswith("Encountered exception during execution:\nTraceback (most recent call last):\n")
    assert "in fail" in told
    assert "ZeroDivisionError: division by zero" in told
    assert "look under the sofa" in told
    assert "/tidemill/engine/" not in told


def test_an_exception_of_a_class_of_the_users_is_caught_by_that_class(on):
    class OutOfTea(Exception):
        def __init__(self, cups, *, by):
            super().__init__(f"{cups} cups wanted by {by}")
            self.cups = cups
            self.by = by

    @on.task
    async def brew():
        raise OutOfTea(3, by="noon")

    @on.flow
    async def parent():
        try:
            await on.value(brew.submit())
        except OutOfTea as error:
            return error.cups, error.by, str(error)

    assert on.run(parent) == (3, "noon", "3 cups wanted by noon")


def test_a_group_of_exceptions_comes_back(on):
    @on.task
    async def fail():
        raise ExceptionGroup("several", [ValueError("a"), LookupError("b")])

    @on.flow
    async def parent():
        try:
            await on.value(fail.submit())
        except ExceptionGroup as group:
            return group.message, [repr(error) for error in group.exceptions]

    assert on.run(parent) == ("several", ["ValueError('a')", "LookupError('b')"])


def test_stop_iteration_comes_back(on):
    @on.task
    async def fail():
        raise StopAsyncIteration("no more")

    @on.flow
    async def parent():
        future = await on.end(fail.submit())
        return repr(future.result(raise_on_failure=False))

    assert on.run(parent) == "StopAsyncIteration('no more')"


def test_ten_million_bytes_go_in_and_come_back(on):
    @on.task
    async def reverse(data):
        return data[::-1]

    data = bytes(range(250)) * 40_000

    @on.flow
    async def parent():
        return await on.value(reverse.submit(reverse.submit(data))) == data

    assert on.run(parent) is True


def test_a_result_that_cannot_be_pickled(on, recorded):
    @on.task
    async def open_lock():
        return threading.Lock()

    @on.flow
    async def parent():
        future = await on.end(open_lock.submit())
        try:
            return [await on.value(future)]
        except SerializationError as error:
            return [str(error)]

    (given,) = on.run(parent)
    if on.in_this_process:
        assert hasattr(given, "acquire")
    else:
        assert "The value of task run 'open_lock-" in given
        assert "cannot be brought back" in given
    assert any("open_lock" in log["message"] and "is not kept" in log["message"] for log in recorded.logs())


def test_a_result_that_cannot_be_brought_back_is_not_none_downstream(on):
    @on.task
    async def open_lock():
        return threading.Lock()

    @on.task
    async def take(lock):
        return type(lock).__name__

    @on.flow
    async def parent():
        future = await on.end(take.submit(open_lock.submit()))
        try:
            return await on.value(future)
        except Exception as error:
            return str(error)

    given = on.run(parent)
    assert given == "lock" if on.in_this_process else "open_lock" in given


def test_an_argument_that_cannot_be_pickled(on):
    @on.task
    async def use(lock):
        return lock.locked()

    @on.flow
    async def parent():
        future = await on.end(use.submit(threading.Lock()))
        return [future.result(raise_on_failure=False)]

    (given,) = on.run(parent)
    if on.in_this_process:
        assert given is False
    else:
        assert isinstance(given, Exception)
        assert "use" in str(given)
        assert "lock" in str(given)


# What is recorded


def test_every_state_is_recorded(on, recorded, story):
    @on.task
    async def step(x):
        return x + 1

    @on.flow
    async def parent():
        return await on.value(step.submit(1))

    assert on.run(parent) == 2
    run = recorded.task_run()
    assert story(run) == ["Pending", "Running", "Completed"]
    assert run["flow_run_id"] == recorded.flow_run()["id"]
    assert run["start_time"] <= run["end_time"]
    assert run["run_count"] == 1


def test_a_future_says_where_its_run_stands(on, recorded):
    @on.task
    async def step(x):
        return x + 1

    @on.flow
    async def parent():
        future = step.submit(1)
        assert isinstance(future.state, State)
        assert uuid.UUID(future.task_run_id)
        await on.end(future)
        state = future.state
        assert future.done()
        assert future.wait() is state
        assert state.result() == 2
        return future.task_run_id, future.name, state.type, state.state_details.task_run_id

    task_run_id, name, type, named_in_state = on.run(parent)
    run = recorded.task_run()
    assert (task_run_id, name, named_in_state) == (run["id"], run["name"], run["id"])
    assert type is StateType.COMPLETED


def test_runs_are_numbered_in_the_order_of_submission(on, recorded):
    @on.task
    async def step(x):
        return x

    @on.flow
    async def parent():
        futures = [step.submit(x) for x in range(12)]
        for future in futures:
            await on.end(future)
        return [future.name for future in futures], [future.task_run_id for future in futures]

    names, ids = on.run(parent)
    prefix = names[0].removesuffix("0")
    assert names == [f"{prefix}{x}" for x in range(12)]
    assert prefix.startswith("step-")
    runs = sorted(recorded.task_runs(), key=lambda run: int(run["dynamic_key"]))
    assert [run["id"] for run in runs] == ids == sorted(ids)


def test_a_run_is_named_by_its_template(on, recorded):
    @on.task(task_run_name="load {table}")
    async def load(table):
        return table

    @on.flow
    async def parent():
        first = load.submit("tea")
        return await on.value([first, load.submit(first)][1])

    on.run(parent)
    assert [run["name"] for run in recorded.task_runs()] == ["load tea", "load tea"]


def test_what_a_task_says_is_recorded_with_its_run(on, recorded):
    @on.task(log_prints=True)
    async def speak(word):
        get_run_logger().info("heard %s", word)
        get_run_logger().warning("twice")
        print("and printed", word)

    @on.flow
    async def parent():
        for future in [speak.submit("tea"), speak.submit("milk")]:
            await on.value(future)

    on.run(parent)
    flow_run_id = recorded.flow_run()["id"]
    for run, word in zip(sorted(recorded.task_runs(), key=lambda run: run["id"]), ["tea", "milk"], strict=True):
        logs = recorded.logs(task_run=run)
        said = [(log["level"], log["message"]) for log in logs if "Finished" not in log["message"]]
        assert said == [(20, f"heard {word}"), (30, "twice"), (20, f"and printed {word}")]
        assert {log["flow_run_id"] for log in logs} == {flow_run_id}
        assert logs[-1]["message"] == "Finished in state Completed()"


def test_log_prints_is_inherited_from_the_flow(on, recorded):
    @on.task
    async def speak():
        print("heard")

    @on.flow(log_prints=True)
    async def parent():
        await on.value(speak.submit())

    on.run(parent)
    assert "heard" in [log["message"] for log in recorded.logs(task_run=recorded.task_run())]


def test_the_engine_tells_of_a_submission(on, recorded):
    @on.task
    async def step():
        return 1

    @on.flow
    async def parent():
        await on.value(step.submit())

    on.run(parent)
    name = recorded.task_run()["name"]
    said = [log["message"] for log in recorded.logs()]
    assert f"Created task run '{name}' for task 'step'" in said
    assert f"Submitted task run '{name}' for execution." in said


def test_tags_of_the_task_and_of_the_place_of_submission(on, recorded):
    @on.task(tags=["own"])
    async def step():
        return sorted(runtime.task_run.tags)

    @on.flow
    async def parent():
        with tags("around"):
            future = step.submit()
        return await on.value(future), await on.value(step.submit())

    assert on.run(parent) == (["around", "own"], ["own"])
    assert sorted(sorted(run["tags"]) for run in recorded.task_runs()) == [["around", "own"], ["own"]]


def test_a_result_is_kept(on, recorded):
    @on.task
    async def give(value):
        return value

    @on.flow
    async def parent():
        return [await on.value(give.submit(value)) for value in ({"a": (1, 2)}, "x" * 100_000)]

    on.run(parent)
    client = connect(BlockingIO())
    kept = [run_blocking(client.task_run_entry(run["id"])) for run in sorted(recorded.task_runs(), key=lambda run: run["id"])]
    values = [State(type=entry.progress.type, data=entry.result).result() for entry in kept]
    assert values == [{"a": (1, 2)}, "x" * 100_000]


def test_where_an_input_came_from_is_recorded(on, recorded):
    @on.task
    async def give():
        return 1

    @on.task
    async def take(x, y):
        return x + y[0]

    @on.flow
    async def parent():
        given = give.submit()
        return await on.value(take.submit(given, y=[given]))

    assert on.run(parent) == 2
    source = [("task_run", recorded.task_run("give")["id"])]
    taking = recorded.task_run("take")
    assert recorded.sources(taking, "x") == recorded.sources(taking, "y") == source
