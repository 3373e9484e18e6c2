"""Tasks in tasks, tasks outside flows, flows in tasks: all of it runs and is recorded."""

import asyncio

import pytest

from tidemill import flow, task
from tidemill.runtime import flow_run, task_run


def test_a_task_outside_a_flow_is_recorded_without_one(colour, recorded):
    @task
    @colour.paint
    async def alone(x):
        return x + 1

    assert colour.run(alone, 1) == 2
    run = recorded.task_run()
    assert run["flow_run_id"] is None
    assert run["state_type"] == "COMPLETED"
    assert run["name"].startswith("alone-")
    assert recorded.flow_runs() == []


def test_a_failing_task_outside_a_flow_raises_and_is_recorded(colour, recorded):
    @task
    @colour.paint
    async def alone():
        raise LookupError("gone")

    with pytest.raises(LookupError):
        colour.run(alone)
    assert recorded.task_run()["state_type"] == "FAILED"


def test_many_runs_of_a_task_outside_a_flow_do_not_collide(colour, recorded):
    @task
    @colour.paint
    async def alone(x):
        return x

    assert [colour.run(alone, n) for n in range(5)] == list(range(5))
    assert len({run["id"] for run in recorded.task_runs()}) == 5


def test_a_task_in_a_task_belongs_to_the_flow_run(colour, recorded):
    @task
    @colour.paint
    async def inner(x):
        return x + 1

    @task
    @colour.paint
    async def outer(x):
        return await colour.call(inner, x) + await colour.call(inner, x)

    @flow
    @colour.paint
    async def parent():
        return await colour.call(outer, 1)

    assert colour.run(parent) == 4
    runs = recorded.task_runs(recorded.flow_run())
    assert sorted(run["name"].split("-")[0] for run in runs) == ["inner", "inner", "outer"]
    assert {run["state_type"] for run in runs} == {"COMPLETED"}


def test_a_task_in_a_task_without_a_flow(colour, recorded):
    @task
    @colour.paint
    async def inner(x):
        return x + 1

    @task
    @colour.paint
    async def outer(x):
        return await colour.call(inner, x) * 2

    assert colour.run(outer, 1) == 4
    assert len(recorded.task_runs()) == 2
    assert {run["flow_run_id"] for run in recorded.task_runs()} == {None}


def test_a_failure_in_an_inner_task_can_be_caught_by_the_outer(colour, recorded):
    @task
    @colour.paint
    async def inner():
        raise LookupError("gone")

    @task
    @colour.paint
    async def outer():
        try:
            await colour.call(inner)
        except LookupError:
            return "caught"

    @flow
    @colour.paint
    async def parent():
        return await colour.call(outer)

    assert colour.run(parent) == "caught"
    assert sorted(run["state_type"] for run in recorded.task_runs()) == ["COMPLETED", "FAILED"]


def test_a_flow_in_a_task(colour, recorded):
    @flow
    @colour.paint
    async def inner(x):
        return x + 1

    @task
    @colour.paint
    async def between(x):
        return await colour.call(inner, x)

    @flow
    @colour.paint
    async def outer():
        return await colour.call(between, 1)

    assert colour.run(outer) == 2
    assert recorded.flow_run(flow="inner")["state_type"] == "COMPLETED"


def test_a_flow_in_a_task_outside_flows(colour, recorded):
    @flow
    @colour.paint
    async def inner():
        return flow_run.parent_flow_run_id

    @task
    @colour.paint
    async def outer():
        return await colour.call(inner)

    assert colour.run(outer) is None
    assert recorded.flow_run()["state_type"] == "COMPLETED"


def test_recursion_of_a_task_ends_where_its_author_ends_it(colour, recorded):
    @task
    @colour.paint
    async def factorial(n):
        return n * await colour.call(factorial, n - 1) if n else 1

    assert colour.run(factorial, 10) == 3628800
    assert len(recorded.task_runs()) == 11


def test_async_tasks_run_side_by_side(recorded):
    @task
    async def meet(n, barrier):
        await barrier.wait()
        return n, task_run.parameters["n"]

    @flow
    async def parent():
        barrier = asyncio.Barrier(20)
        return await asyncio.gather(*(meet(n, barrier) for n in range(20)))

    assert asyncio.run(parent()) == [(n, n) for n in range(20)]
    runs = recorded.task_runs(recorded.flow_run())
    assert len({run["name"] for run in runs}) == 20


def test_a_cancelled_asyncio_task_leaves_no_run_running(recorded):
    @task
    async def endless(started):
        started.set()
        await asyncio.Event().wait()

    @flow
    async def parent():
        started = asyncio.Event()
        waiting = asyncio.create_task(endless(started))
        await started.wait()
        waiting.cancel()
        try:
            await waiting
        except asyncio.CancelledError:
            return "cancelled"

    assert asyncio.run(parent()) == "cancelled"
    run = recorded.task_run()
    assert run["state_type"] in {"CANCELLED", "CRASHED"}
    assert "cancelled" in run["state"]["message"].lower()


def test_a_coroutine_nobody_awaits_is_never_a_run(recorded):
    @task
    async def unawaited():
        return 1

    unawaited().close()
    assert recorded.task_runs() == []
