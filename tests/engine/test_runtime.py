"""tidemill.runtime: what the running code can know of its own run."""

import asyncio
import threading
import uuid

import pytest

import tidemill.runtime
from tidemill import flow, tags, task
from tidemill.runtime import flow_run, task_run


def test_a_flow_run_knows_itself(colour, recorded):
    @flow(name="known", version="3")
    @colour.paint
    async def known(a, b=2):
        return {
            "id": flow_run.id,
            "name": flow_run.name,
            "flow_name": flow_run.flow_name,
            "flow_version": flow_run.flow_version,
            "parameters": flow_run.parameters,
            "tags": sorted(flow_run.tags),
            "run_count": flow_run.run_count,
            "parent": flow_run.parent_flow_run_id,
            "root": flow_run.root_flow_run_id,
        }

    with tags("t"):
        known_inside = colour.run(known, 1)
    kept = recorded.flow_run()
    assert known_inside == {
        "id": kept["id"],
        "name": kept["name"],
        "flow_name": "known",
        "flow_version": "3",
        "parameters": {"a": 1, "b": 2},
        "tags": ["t"],
        "run_count": 1,
        "parent": None,
        "root": kept["id"],
    }
    assert uuid.UUID(known_inside["id"])


def test_a_task_run_knows_itself_and_its_flow_run(colour, recorded):
    @task(tags=["t"])
    @colour.paint
    async def known(a, b=2):
        return {
            "id": task_run.id,
            "name": task_run.name,
            "task_name": task_run.task_name,
            "parameters": task_run.parameters,
            "tags": sorted(task_run.tags),
            "run_count": task_run.run_count,
            "flow_run_id": flow_run.id,
        }

    @flow
    @colour.paint
    async def parent():
        return await colour.call(known, 1)

    known_inside = colour.run(parent)
    kept = recorded.task_run()
    assert known_inside == {
        "id": kept["id"],
        "name": kept["name"],
        "task_name": "known",
        "parameters": {"a": 1, "b": 2},
        "tags": ["t"],
        "run_count": 1,
        "flow_run_id": recorded.flow_run()["id"],
    }


def test_outside_a_run_there_is_nothing_to_know():
    assert flow_run.id is None
    assert flow_run.name is None
    assert flow_run.parameters == {}
    assert flow_run.parent_flow_run_id is None
    assert task_run.id is None
    assert task_run.name is None
    assert task_run.parameters == {}
    assert list(flow_run.tags) == list(task_run.tags) == []


def test_in_a_flow_and_outside_a_task_there_is_no_task_run(colour):
    @task
    @colour.paint
    async def inside():
        return task_run.name

    @flow
    @colour.paint
    async def parent():
        return task_run.id, await colour.call(inside), task_run.id

    before, during, after = colour.run(parent)
    assert before is after is None
    assert during is not None


def test_a_subflow_run_hides_its_parents_and_gives_them_back(colour):
    @flow
    @colour.paint
    async def inner():
        return flow_run.name

    @flow
    @colour.paint
    async def outer():
        before = flow_run.name
        during = await colour.call(inner)
        return before, during, flow_run.name

    before, during, after = colour.run(outer)
    assert before == after != during


def test_an_unknown_attribute_is_an_attribute_error_that_says_what_there_is():
    with pytest.raises(AttributeError, match="colour"):
        _ = flow_run.colour
    assert {"id", "name", "parameters", "tags"} <= set(dir(flow_run))


def test_flow_run_and_task_run_are_reached_through_the_module():
    assert tidemill.runtime.flow_run is flow_run
    assert tidemill.runtime.task_run is task_run


def test_a_thread_with_a_copied_context_knows_the_run():
    import contextvars

    seen = []

    @flow
    def parent():
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: seen.append(context.run(lambda: flow_run.id)))
        thread.start()
        thread.join()
        return flow_run.id

    assert parent() == seen[0]


def test_runs_side_by_side_know_only_themselves():
    @flow
    async def known(n, barrier):
        await barrier.wait()
        mine = flow_run.parameters["n"]
        await barrier.wait()
        return mine, flow_run.parameters["n"]

    async def main():
        barrier = asyncio.Barrier(5)
        return await asyncio.gather(*(known(n, barrier) for n in range(5)))

    assert asyncio.run(main()) == [(n, n) for n in range(5)]
