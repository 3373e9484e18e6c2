"""`isolation="process"`: a task, or the function of a flow, in a process of its own, which may die without harm."""

import asyncio
import dataclasses
import os
import threading

import pytest

from tidemill import flow, get_run_logger, runtime, tags, task
from tidemill.exceptions import SerializationError
from tidemill.states import Failed

pytestmark = pytest.mark.program


def test_a_task_executes_in_another_process(colour, begin):
    @colour.isolated
    async def where(x, *, y):
        return os.getpid(), x, y

    @flow
    @colour.paint
    async def parent():
        return await begin(where, 1, y={"a": {2}})

    pid, x, y = colour.run(parent)
    assert pid != os.getpid()
    assert (x, y) == (1, {"a": {2}})


def test_the_flow_itself_stays(colour, begin):
    @colour.isolated
    async def where():
        return os.getpid()

    @flow
    @colour.paint
    async def parent():
        return os.getpid() != await begin(where), os.getpid()

    assert colour.run(parent) == (True, os.getpid())


def test_outside_a_flow(colour, recorded):
    @colour.isolated
    async def where():
        return os.getpid()

    assert colour.run(where) != os.getpid()
    run = recorded.task_run()
    assert (run["state_type"], run["flow_run_id"]) == ("COMPLETED", None)


def test_an_exception_keeps_its_class_and_its_parts(colour, begin, recorded):
    class OutOfTea(Exception):
        def __init__(self, cups, *, by):
            super().__init__(f"{cups} by {by}")
            self.cups, self.by = cups, by

    @colour.isolated
    async def brew():
        error = OutOfTea(3, by="noon")
        error.add_note("look in the kitchen")
        raise error

    @flow
    @colour.paint
    async def parent():
        try:
            await begin(brew)
        except OutOfTea as error:
            return str(error), error.cups, error.by, "look in the kitchen" in error.__notes__

    assert colour.run(parent) == ("3 by noon", 3, "noon", True)
    run = recorded.task_run()
    assert (run["state_type"], run["state_name"]) == ("FAILED", "Failed")
    (told,) = (log["message"] for log in recorded.logs(task_run=run) if log["message"].startswith("Encountered"))
    assert "in brew" in told
    assert "/tidemill/" not in told


def test_the_states_are_recorded_once_each(colour, begin, recorded):
    @colour.isolated(retries=1)
    async def once_more():
        if runtime.task_run.run_count == 1:
            raise LookupError("not yet")
        return runtime.task_run.run_count

    @flow
    @colour.paint
    async def parent():
        return await begin(once_more)

    assert colour.run(parent) == 2
    names = [state["name"] for state in recorded.states(recorded.task_run())]
    assert names == ["Pending", "Running", "AwaitingRetry", "Retrying", "Completed"]


def test_what_it_says_is_recorded(colour, begin, recorded):
    @colour.isolated(log_prints=True)
    async def speak():
        print("by print")
        get_run_logger().warning("by logger")

    @flow
    @colour.paint
    async def parent():
        await begin(speak)
        return 1

    colour.run(parent)
    said = [log["message"] for log in recorded.logs(task_run=recorded.task_run())]
    assert [each for each in said if each.startswith("by ")] == ["by print", "by logger"]


def test_log_prints_of_the_flow_holds_there_too(colour, begin, recorded):
    @colour.isolated
    async def speak():
        print("by print")

    @flow(log_prints=True)
    @colour.paint
    async def parent():
        await begin(speak)
        return 1

    colour.run(parent)
    assert "by print" in [log["message"] for log in recorded.logs(task_run=recorded.task_run())]


def test_tags_and_names(colour, begin, recorded):
    @colour.isolated(tags=["own"], task_run_name="load {table}")
    async def load(table):
        return sorted(runtime.task_run.tags), runtime.task_run.name, runtime.flow_run.name, runtime.flow_run.parameters

    @flow(flow_run_name="nightly")
    @colour.paint
    async def parent(day):
        with tags("around"):
            return await begin(load, "tea")

    assert colour.run(parent, day=3) == (["around", "own"], "load tea", "nightly", {"day": 3})
    assert sorted(recorded.task_run()["tags"]) == ["around", "own"]


def test_hooks_are_called_once(colour, begin, tmp_path):
    place = str(tmp_path / "called")

    def note(of, run, state):
        with open(place, "a") as file:
            file.write(f"{of.name} {run.name.split('-')[0]} {state.name}\n")

    @colour.isolated(on_running=[note], on_completion=[note], on_failure=[note])
    async def step(fails):
        if fails:
            raise LookupError

    @flow
    @colour.paint
    async def parent():
        await begin(step, False)
        await begin(step, True, return_state=True)
        return 1

    colour.run(parent)
    with open(place) as file:
        assert file.read().splitlines() == ["step step Running", "step step Completed", "step step Running", "step step Failed"]


def test_a_state_made_by_hand(colour, begin, recorded):
    @colour.isolated
    async def refuse():
        return Failed(message="not today")

    @flow
    @colour.paint
    async def parent():
        return str(await begin(refuse, return_state=True))

    assert "not today" in colour.run(parent)
    assert recorded.task_run()["state"]["message"] == "not today"


def test_objects_of_local_classes_go_there_and_come_back(colour, begin):
    @dataclasses.dataclass
    class Point:
        x: int

    @colour.isolated
    async def move(point):
        return Point(point.x + 1), isinstance(point, Point)

    @flow
    @colour.paint
    async def parent():
        point, known = await begin(move, Point(1))
        return isinstance(point, Point), point.x, known

    assert colour.run(parent) == (True, 2, True)


def test_an_argument_that_cannot_be_pickled(colour, begin, recorded):
    @colour.isolated
    async def use(lock):
        return lock

    @flow
    @colour.paint
    async def parent():
        with pytest.raises(SerializationError, match=r"'use-\w+-0' cannot execute in another process.*lock") as caught:
            await begin(use, threading.Lock())
        return str(caught.value)

    assert "Pass what can be pickled" in colour.run(parent)
    assert recorded.task_run()["state_type"] == "FAILED"


def test_a_result_that_cannot_be_pickled(colour, begin):
    @colour.isolated
    async def open_lock():
        return threading.Lock()

    @flow
    @colour.paint
    async def parent():
        with pytest.raises(SerializationError, match=r"'open_lock-\w+-0' cannot be brought back from its process.*lock"):
            await begin(open_lock)
        return 1

    assert colour.run(parent) == 1


# What runs inside


def test_a_plain_task_and_a_subflow_inside(colour, begin, recorded):
    @task
    @colour.paint
    async def inner(x):
        return x + 1

    @flow
    @colour.paint
    async def below(x):
        return await colour_call(inner, x) * 2

    @colour.isolated
    async def outer(x):
        return await colour_call(inner, x), await colour_call(below, x)

    colour_call = calling(colour.is_async)

    @flow
    @colour.paint
    async def parent():
        return await begin(outer, 1)

    assert colour.run(parent) == (2, 4)
    assert {run["state_type"] for run in recorded.task_runs() + recorded.flow_runs()} == {"COMPLETED"}
    assert len(recorded.flow_runs()) == 2


def calling(is_async):
    """`Colour.call` by itself, so that no test object travels."""

    async def call(function, *args):
        value = function(*args)
        return await value if is_async else value

    return call


def test_tasks_submitted_inside_are_finished_there(colour, begin, recorded):
    @task
    def inner(x):
        return x

    @colour.isolated
    async def outer():
        inner.map(range(5))
        return "done"

    @flow
    @colour.paint
    async def parent():
        return await begin(outer)

    assert colour.run(parent) == "done"
    assert [run["state_type"] for run in recorded.task_runs()] == ["COMPLETED"] * 6


def test_a_failure_of_a_task_inside_counts_where_the_flow_returns_nothing(colour, begin, recorded):
    @task
    def inner():
        raise LookupError("gone")

    @colour.isolated
    async def outer():
        inner.submit().wait()
        return "done"

    @flow
    @colour.paint
    async def parent():
        await begin(outer)

    assert "1/2 states failed" in str(colour.run(parent, return_state=True))


def test_a_list_of_isolated_tasks_is_mapped(recorded):
    @task(isolation="process")
    def square(x):
        return x * x, os.getpid()

    @flow
    def parent():
        return square.map(range(20)).result()

    given = parent()
    assert [value for value, _ in given] == [x * x for x in range(20)]
    assert os.getpid() not in {pid for _, pid in given}
    assert {run["state_type"] for run in recorded.task_runs()} == {"COMPLETED"}


def test_gathered_isolated_tasks_leave_the_loop_free():
    @task(isolation="process")
    async def square(x):
        await asyncio.sleep(0.01)
        return x * x

    @flow
    async def parent():
        return await asyncio.gather(*(square(x) for x in range(6)))

    assert asyncio.run(parent()) == [0, 1, 4, 9, 16, 25]
