"""`@flow(isolation="process")`: the function of a flow in a process of its own."""

import asyncio
import os
import threading

import pytest

from tidemill import ThreadPoolTaskRunner, flow, get_run_logger, runtime, tags, task
from tidemill.exceptions import SerializationError
from tidemill.states import Cancelled

pytestmark = pytest.mark.program


def apart(colour, body=None, **options):
    """A flow of that colour in a process of its own."""
    if body is None:
        return lambda body: apart(colour, body, **options)
    return flow(isolation="process", **options)(colour.paint(body))


def calling(is_async):
    """`Colour.call` by itself, so that no test object travels."""

    async def call(function, *args, **kwargs):
        value = function(*args, **kwargs)
        return await value if is_async else value

    return call


def test_the_function_executes_in_another_process(colour, recorded):
    @apart(colour)
    async def elsewhere(x: int, *, y):
        return os.getpid(), x, y

    pid, x, y = colour.run(elsewhere, "1", y={2})
    assert pid != os.getpid()
    assert (x, y) == (1, {2})
    run = recorded.flow_run()
    assert (run["state_type"], run["parameters"]["x"]) == ("COMPLETED", 1)


def test_its_tasks_execute_there_and_are_recorded(colour, recorded):
    @task
    @colour.paint
    async def step(x):
        get_run_logger().info("step %s", x)
        return x, os.getpid()

    call = calling(colour.is_async)

    @apart(colour, task_runner=ThreadPoolTaskRunner(2))
    async def elsewhere():
        first = await call(step, 1)
        others = step.map([2, 3])
        return [first, *(await others if is_async else others.result())], os.getpid()

    is_async = colour.is_async
    values, pid = colour.run(elsewhere)
    assert values == [(1, pid), (2, pid), (3, pid)]
    assert {run["state_type"] for run in recorded.task_runs()} == {"COMPLETED"}
    assert sorted(run["dynamic_key"].split(".")[0] for run in recorded.task_runs()) == ["0", "1", "2"]
    assert {"step 1", "step 2", "step 3"} <= {log["message"] for log in recorded.logs()}


def test_what_it_knows_of_itself(colour, recorded):
    @apart(colour, flow_run_name="load {table}", tags=["own"], log_prints=True)
    async def elsewhere(table):
        print("by print")
        get_run_logger().info("by logger")
        return runtime.flow_run.name, sorted(runtime.flow_run.tags), runtime.flow_run.parameters, runtime.flow_run.id

    @flow
    @colour.paint
    async def parent():
        with tags("around"):
            return await colour.call(elsewhere, "tea")

    name, its_tags, parameters, id = colour.run(parent)
    assert (name, its_tags, parameters) == ("load tea", ["around", "own"], {"table": "tea"})
    run = recorded.flow_run(flow="elsewhere")
    assert run["id"] == id
    assert {"by print", "by logger"} <= {log["message"] for log in recorded.logs(flow_run=run)}


def test_an_exception_comes_back(colour, recorded):
    class OutOfTea(Exception):
        pass

    @apart(colour)
    async def elsewhere():
        raise OutOfTea("noon")

    with pytest.raises(OutOfTea, match="noon"):
        colour.run(elsewhere)
    assert recorded.flow_run()["state_type"] == "FAILED"


def test_it_is_judged_by_its_tasks(colour, recorded):
    @task
    def fail():
        raise LookupError("gone")

    @apart(colour)
    async def elsewhere():
        fail.submit().wait()

    state = colour.run(elsewhere, return_state=True)
    assert str(state) == "Failed('1/1 states failed.')"


def test_it_is_judged_by_the_futures_that_it_returns(colour):
    @task
    def step(x):
        return 1 // x

    @apart(colour)
    async def elsewhere():
        return step.map([0, 1])

    assert str(colour.run(elsewhere, return_state=True)) == "Failed('1/2 states failed.')"


def test_a_state_that_it_returns(colour):
    @apart(colour)
    async def elsewhere():
        return Cancelled(message="by hand")

    state = colour.run(elsewhere, return_state=True)
    assert (state.type.value, state.message) == ("CANCELLED", "by hand")


def test_retries_and_hooks(colour, recorded, tmp_path):
    place = str(tmp_path / "called")

    def note(of, run, state):
        with open(place, "a") as file:
            file.write(f"{state.name} {os.getpid()}\n")

    @apart(colour, retries=1, on_running=[note], on_completion=[note])
    async def elsewhere():
        if runtime.flow_run.run_count == 1:
            raise LookupError("not yet")
        return runtime.flow_run.run_count

    assert colour.run(elsewhere) == 2
    names = [state["name"] for state in recorded.states(recorded.flow_run())]
    assert names == ["Pending", "Running", "AwaitingRetry", "Retrying", "Completed"]
    with open(place) as file:
        called = file.read().splitlines()
    here = str(os.getpid())
    assert [line.split()[0] for line in called][-1] == "Completed"
    assert {line.split()[1] for line in called} == {here}


def test_as_a_subflow(colour, recorded):
    @apart(colour)
    async def elsewhere(x):
        return os.getpid(), x

    @task
    def give():
        return 5

    @flow
    @colour.paint
    async def parent():
        return await colour.call(elsewhere, give.submit())

    pid, x = colour.run(parent)
    assert pid != os.getpid()
    assert x == 5
    assert recorded.flow_run(flow="elsewhere")["parent_task_run_id"] is not None
    assert {run["state_type"] for run in recorded.task_runs() + recorded.flow_runs()} == {"COMPLETED"}


def test_a_subflow_inside_it(colour, recorded):
    call = calling(colour.is_async)

    @flow
    @colour.paint
    async def below(x):
        return os.getpid(), x

    @apart(colour)
    async def elsewhere():
        return os.getpid(), await call(below, 5)

    pid, (same, x) = colour.run(elsewhere)
    assert (same, x) == (pid, 5)
    assert {run["state_type"] for run in recorded.task_runs() + recorded.flow_runs()} == {"COMPLETED"}
    assert len(recorded.flow_runs()) == 2


def test_what_cannot_be_pickled_is_an_error_that_names_the_flow(colour, recorded):
    @apart(colour)
    async def elsewhere(lock=None):
        return threading.Lock()

    with pytest.raises(SerializationError, match=r"Flow 'elsewhere' cannot execute in another process.*lock"):
        colour.run(elsewhere, threading.Lock())
    with pytest.raises(SerializationError, match=r"What flow 'elsewhere' returned cannot be brought back.*lock"):
        colour.run(elsewhere)
    assert {run["state_type"] for run in recorded.flow_runs()} == {"FAILED"}


def test_several_at_once_on_one_loop(tmp_path):
    met = tmp_path / "met"
    met.mkdir()

    @flow(isolation="process", timeout_seconds=60)
    async def elsewhere(x):
        (met / str(x)).touch()
        while len(list(met.iterdir())) < 3:
            await asyncio.sleep(0.005)
        return os.getpid(), x

    async def main():
        return await asyncio.gather(*(elsewhere(x) for x in range(3)))

    given = asyncio.run(main())
    assert [x for _, x in given] == [0, 1, 2]
    assert len({pid for pid, _ in given}) == 3
