"""Flows in flows, to any depth, in every mix of colours that Python itself allows."""

import asyncio

import pytest

from tidemill import flow, tags, task
from tidemill.runtime import flow_run


def test_a_subflow_is_a_flow_run_of_its_own_linked_to_its_parent(colour, recorded):
    @flow
    @colour.paint
    async def inner(config):
        return config

    @flow
    @colour.paint
    async def outer():
        return await colour.call(inner, config={"a": 1})

    assert colour.run(outer) == {"a": 1}
    parent, child = recorded.flow_run(flow="outer"), recorded.flow_run(flow="inner")
    assert child["parameters"] == {"config": {"a": 1}}
    assert parent["parent_task_run_id"] is None
    (link,) = recorded.task_runs(parent)
    assert link["id"] == child["parent_task_run_id"]
    assert link["state_type"] == "COMPLETED"
    assert link["state"]["state_details"]["child_flow_run_id"] == child["id"]


def test_subflows_nest_to_any_depth(colour, recorded):
    depth = 30

    @flow
    @colour.paint
    async def nested(n):
        return [n, *await colour.call(nested, n - 1)] if n else []

    assert colour.run(nested, depth) == list(range(depth, 0, -1))
    runs = recorded.flow_runs(limit=depth + 5)
    assert len(runs) == depth + 1
    assert sum(run["parent_task_run_id"] is None for run in runs) == 1


def test_subflows_and_tasks_mix(colour, recorded):
    @task
    @colour.paint
    async def double(x):
        return 2 * x

    @flow
    @colour.paint
    async def inner(x):
        return await colour.call(double, x) + 1

    @flow
    @colour.paint
    async def outer():
        first = await colour.call(inner, 1)
        return await colour.call(double, await colour.call(inner, first))

    assert colour.run(outer) == 14
    child_runs = [run for run in recorded.flow_runs() if run["flow_name"] == "inner"]
    assert sorted(len(recorded.task_runs(run)) for run in child_runs) == [1, 1]
    parent = recorded.flow_run(flow="outer")
    assert len(recorded.task_runs(parent)) == 3


def test_return_state_of_a_subflow(colour):
    @flow
    @colour.paint
    async def inner():
        return 42

    @flow
    @colour.paint
    async def outer():
        return await colour.call(inner, return_state=True)

    state = colour.run(outer)
    assert repr(state) == "Completed(message=None, type=COMPLETED, result=42)"


def test_a_subflow_that_fails_raises_in_the_parent_which_can_catch(colour, recorded):
    @flow
    @colour.paint
    async def inner():
        raise LookupError("gone")

    @flow
    @colour.paint
    async def outer():
        try:
            await colour.call(inner)
        except LookupError as error:
            return f"caught {error}"

    assert colour.run(outer) == "caught gone"
    assert recorded.flow_run(flow="inner")["state_type"] == "FAILED"
    assert recorded.flow_run(flow="outer")["state_type"] == "COMPLETED"
    (link,) = recorded.task_runs(recorded.flow_run(flow="outer"))
    assert link["state_type"] == "FAILED"


def test_a_failed_subflow_nobody_caught_fails_the_parent(colour):
    @flow
    @colour.paint
    async def inner():
        raise LookupError("gone")

    @flow
    @colour.paint
    async def outer():
        await colour.call(inner)

    with pytest.raises(LookupError, match="gone"):
        colour.run(outer)


def test_a_subflow_inherits_tags(colour, recorded):
    @flow
    @colour.paint
    async def inner():
        with tags("deeper"):
            return await colour.call(leaf)

    @flow
    @colour.paint
    async def leaf():
        return sorted(flow_run.tags)

    @flow
    @colour.paint
    async def outer():
        return await colour.call(inner)

    with tags("top"):
        assert colour.run(outer) == ["deeper", "top"]
    assert recorded.flow_run(flow="inner")["tags"] == ["top"]


@pytest.mark.parametrize(("own", "printed"), [(None, False), (True, False), (False, True)])
def test_a_subflow_inherits_log_prints_unless_it_says_otherwise(colour, own, printed, capsys, recorded):
    @flow(log_prints=own)
    @colour.paint
    async def inner():
        print("hello from below")

    @flow(log_prints=True)
    @colour.paint
    async def outer():
        await colour.call(inner)

    colour.run(outer)
    assert ("hello from below\n" in capsys.readouterr().out) is printed
    logged = [log["message"] for log in recorded.logs(recorded.flow_run(flow="inner"))]
    assert ("hello from below" in logged) is not printed


def test_parent_and_root_are_known_inside(colour, recorded):
    @flow
    @colour.paint
    async def leaf():
        return flow_run.parent_flow_run_id, flow_run.root_flow_run_id

    @flow
    @colour.paint
    async def middle():
        return flow_run.id, await colour.call(leaf)

    @flow
    @colour.paint
    async def root():
        return flow_run.id, flow_run.parent_flow_run_id, await colour.call(middle)

    root_id, above, (middle_id, (parent_id, top_id)) = colour.run(root)
    assert above is None
    assert (parent_id, top_id) == (middle_id, root_id)


def test_a_plain_subflow_in_an_async_flow():
    @task
    def plain_task(x):
        return x + 1

    @flow
    def plain_flow(x):
        return plain_task(x) + 1

    @flow
    async def outer():
        return plain_flow(1) + plain_task(10)

    assert asyncio.run(outer()) == 14


def test_an_async_flow_in_a_plain_flow_is_a_coroutine_as_in_python():
    @flow
    async def inner():
        return flow_run.parent_flow_run_id is not None

    @flow
    def outer():
        return asyncio.run(inner())

    assert outer() is True


def test_async_subflows_run_side_by_side(recorded):
    @flow
    async def inner(n, barrier):
        await barrier.wait()
        return flow_run.parameters["n"]

    @flow
    async def outer():
        barrier = asyncio.Barrier(3)
        return await asyncio.gather(*(inner(n, barrier) for n in range(3)))

    assert asyncio.run(outer()) == [0, 1, 2]
    parent = recorded.flow_run(flow="outer")
    assert len(recorded.task_runs(parent)) == 3
