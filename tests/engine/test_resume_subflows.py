"""Subflows in the next attempt of their parent: those that completed give their value, the others continue."""

import pytest

from tidemill import flow, runtime, task

KEY = "the only run"


@pytest.fixture
def step(colour, executed):
    @task
    @colour.paint
    async def step(n):
        executed.append(n)
        return n + 1

    return step


def count(recorded):
    return {run["flow_name"]: run["run_count"] for run in recorded.flow_runs()}


def test_three_levels_of_which_the_innermost_failed(colour, executed, step, recorded):
    problems = [OSError("deep down")]

    @flow
    @colour.paint
    async def bottom(n):
        value = await colour.call(step, n)
        if problems and n == 20:
            raise problems.pop()
        return await colour.call(step, value)

    @flow
    @colour.paint
    async def middle(n):
        value = await colour.call(step, n)
        return await colour.call(bottom, value) + await colour.call(bottom, 20)

    @flow(idempotency_key=KEY)
    @colour.paint
    async def top():
        value = await colour.call(step, 0)
        return await colour.call(middle, value)

    with pytest.raises(OSError, match="deep down"):
        colour.run(top)
    assert executed == [0, 1, 2, 3, 20]
    assert colour.run(top) == 4 + 22
    assert executed == [0, 1, 2, 3, 20, 21]
    runs = sorted((run["flow_name"], run["run_count"], run["state_type"]) for run in recorded.flow_runs())
    assert runs == [("bottom", 1, "COMPLETED"), ("bottom", 2, "COMPLETED"), ("middle", 2, "COMPLETED"), ("top", 2, "COMPLETED")]
    assert {run["state_type"] for run in recorded.task_runs()} == {"COMPLETED"}


def test_a_completed_subflow_is_not_entered_again(colour, executed, fails_once, recorded):
    @flow
    @colour.paint
    async def part(n):
        executed.append(n)
        return {"part": n}

    async def whole():
        return [await colour.call(part, n) for n in range(3)]

    assert colour.run(fails_once(whole)) == [{"part": 0}, {"part": 1}, {"part": 2}]
    assert executed == [0, 1, 2]
    assert count(recorded) == {"resumed": 2, "part": 1}


def test_a_subflow_whose_parameter_changed_is_a_new_run(colour, executed, fails_once):
    @flow
    @colour.paint
    async def part(n):
        executed.append(n)
        return n

    async def whole(n):
        return await colour.call(part, n)

    assert colour.run(fails_once(whole, 1), 2) == 2
    assert executed == [1, 2]


def test_a_subflow_that_failed_and_was_caught_is_continued(colour, executed, step, recorded):
    problems = [ValueError("once")]

    @flow
    @colour.paint
    async def part():
        value = await colour.call(step, 1)
        if problems:
            raise problems.pop()
        return value

    @flow(idempotency_key=KEY)
    @colour.paint
    async def whole():
        state = await colour.call(part, return_state=True)
        if state.is_failed():
            raise OSError("the flow fails for another reason")
        return state.result()

    colour.run(whole, return_state=True)
    assert colour.run(whole) == 2
    assert executed == [1]
    assert count(recorded) == {"whole": 2, "part": 2}


def test_a_subflow_called_in_a_task(colour, executed, step, recorded):
    problems = [OSError("later")]

    @flow
    @colour.paint
    async def part():
        return await colour.call(step, 1)

    @task
    @colour.paint
    async def calls_it():
        value = await colour.call(part)
        if problems:
            raise problems.pop()
        return value

    @flow(idempotency_key=KEY)
    @colour.paint
    async def whole():
        return await colour.call(calls_it)

    colour.run(whole, return_state=True)
    assert colour.run(whole) == 2
    assert executed == [1]
    assert count(recorded) == {"whole": 2, "part": 1}


@pytest.mark.parametrize("value", [None, [], 0, "text", [1, 2]], ids=repr)
def test_what_a_completed_subflow_gave(colour, executed, fails_once, value):
    @flow
    @colour.paint
    async def part():
        executed.append("part")
        return value

    async def whole():
        executed.append(await colour.call(part))

    colour.run(fails_once(whole))
    first, second = executed[1:]
    assert executed[0] == "part"
    assert (second, type(second)) == (first, type(first))


def test_the_same_subflow_many_times_over(colour, executed, fails_once, recorded):
    given = []

    @flow
    @colour.paint
    async def part():
        executed.append("part")
        return runtime.flow_run.id

    async def whole():
        given.append([await colour.call(part) for _ in range(5)])

    colour.run(fails_once(whole))
    first, second = given
    assert first == second
    assert executed == ["part"] * 5
    assert len(recorded.flow_runs()) == 6
