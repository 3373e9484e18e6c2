"""What a task's inputs came from is recorded, though only plain values were passed."""

import pytest

from tidemill import flow, task


@pytest.fixture
def make(colour):
    """Two tasks: one gives what it is told, one takes anything."""

    @task
    @colour.paint
    async def give(value):
        return value

    @task
    @colour.paint
    async def take(x=None, y=None):
        return (x, y)

    return give, take


@pytest.mark.parametrize("value", [{"fact": "cats purr"}, [1, 2], {1, 2}, object(), 1.25, b"bytes"], ids=repr)
def test_a_value_another_task_gave_leads_back_to_it(colour, recorded, make, value):
    give, take = make

    @flow
    @colour.paint
    async def parent():
        await colour.call(take, x=await colour.call(give, value), y=3)

    colour.run(parent)
    taking = recorded.task_run("take")
    assert recorded.sources(taking, "x") == [("task_run", recorded.task_run("give")["id"])]
    assert taking["task_inputs"]["y"] == []


@pytest.mark.parametrize(
    "wrap",
    [lambda value: [value], lambda value: (1, value), lambda value: {"a": value}, lambda value: [{"deep": (value,)}]],
    ids=["list", "tuple", "dict", "nested"],
)
def test_a_value_inside_a_collection_leads_back_too(colour, recorded, make, wrap):
    give, take = make

    @flow
    @colour.paint
    async def parent():
        await colour.call(take, wrap(await colour.call(give, {"a": 1})))

    colour.run(parent)
    assert recorded.sources(recorded.task_run("take"), "x") == [("task_run", recorded.task_run("give")["id"])]


def test_a_part_of_what_a_task_gave_leads_back_too(colour, recorded, make):
    give, take = make

    @flow
    @colour.paint
    async def parent():
        answer = await colour.call(give, {"items": [1.5, 2.5]})
        await colour.call(take, answer["items"])

    colour.run(parent)
    assert recorded.sources(recorded.task_run("take"), "x") == [("task_run", recorded.task_run("give")["id"])]


def test_a_state_leads_back_to_its_run(colour, recorded, make):
    give, take = make

    @flow
    @colour.paint
    async def parent():
        state = await colour.call(give, 1, return_state=True)
        await colour.call(take, state)

    colour.run(parent)
    assert recorded.sources(recorded.task_run("take"), "x") == [("task_run", recorded.task_run("give")["id"])]


def test_what_a_subflow_gave_leads_back_to_it(colour, recorded, make):
    _, take = make

    @flow
    @colour.paint
    async def below():
        return {"a": 1}

    @flow
    @colour.paint
    async def parent():
        await colour.call(take, await colour.call(below))

    colour.run(parent)
    link = recorded.flow_run(flow="below")["parent_task_run_id"]
    assert recorded.sources(recorded.task_run("take"), "x") == [("task_run", link)]


def test_what_a_subflow_was_given_leads_back_to_the_task(colour, recorded, make):
    give, _ = make

    @flow
    @colour.paint
    async def below(config):
        return 1

    @flow
    @colour.paint
    async def parent():
        await colour.call(below, config=await colour.call(give, {"a": 1}))

    colour.run(parent)
    link_id = recorded.flow_run(flow="below")["parent_task_run_id"]
    (link,) = (run for run in recorded.task_runs() if run["id"] == link_id)
    assert recorded.sources(link, "config") == [("task_run", recorded.task_run("give")["id"])]


def test_a_value_passed_on_by_two_tasks_leads_to_the_last(colour, recorded, make):
    give, take = make

    @task
    @colour.paint
    async def hand_on(value):
        return value

    @flow
    @colour.paint
    async def parent():
        await colour.call(take, await colour.call(hand_on, await colour.call(give, {"a": 1})))

    colour.run(parent)
    assert recorded.sources(recorded.task_run("take"), "x") == [("task_run", recorded.task_run("hand_on")["id"])]


def test_an_equal_value_is_not_the_same_value(colour, recorded, make):
    give, take = make

    @flow
    @colour.paint
    async def parent():
        await colour.call(give, {"a": 1})
        await colour.call(take, {"a": 1})

    colour.run(parent)
    assert recorded.sources(recorded.task_run("take"), "x") == []


@pytest.mark.parametrize("value", [None, True, False, ...], ids=repr)
def test_a_value_there_is_only_one_of_proves_nothing(colour, recorded, make, value):
    give, take = make

    @flow
    @colour.paint
    async def parent():
        await colour.call(give, value)
        await colour.call(take, value)

    colour.run(parent)
    assert recorded.sources(recorded.task_run("take"), "x") == []


def test_a_value_that_died_is_not_mistaken_for_a_new_one(recorded):
    @task
    def give(n):
        return [n]

    @task
    def take(x):
        return None

    @flow
    def parent():
        for n in range(200):
            give(n)
            take([n])

    parent()
    assert all(recorded.sources(run, "x") == [] for run in recorded.task_runs(limit=500) if run["name"].startswith("take-"))
