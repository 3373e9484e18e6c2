"""Generators and async generators as tasks: one run from the first value to the end."""

import asyncio

import pytest

from tidemill import flow, task
from tidemill.runtime import task_run


def numbers(colour, body, **options):
    """A generator task of this colour, and a function that collects all it gives."""
    if colour.is_async:

        async def agenerate(n):
            for value in body(n):
                yield value

        tracked = task(**options)(agenerate)

        async def acollect(*args):
            return [value async for value in tracked(*args)]

        return tracked, lambda *args: asyncio.run(acollect(*args))

    def generate(n):
        yield from body(n)

    tracked = task(**options)(generate)
    return tracked, lambda *args: list(tracked(*args))


def test_a_generator_task_gives_its_values(colour, recorded):
    _, collect = numbers(colour, range)
    assert collect(5) == [0, 1, 2, 3, 4]
    run = recorded.task_run()
    assert run["state_type"] == "COMPLETED"


def test_the_run_is_running_between_the_values(colour):
    def body(n):
        for _ in range(n):
            yield task_run.name

    tracked, collect = numbers(colour, body)
    names = collect(3)
    assert len(set(names)) == 1
    assert names[0].startswith(tracked.name)
    assert task_run.name is None


def test_a_generator_that_fails_half_way_fails_its_run(colour, recorded):
    def body(n):
        yield from range(n)
        raise LookupError("gone")

    _, collect = numbers(colour, body)
    with pytest.raises(LookupError, match="gone"):
        collect(3)
    assert recorded.task_run()["state_type"] == "FAILED"


def test_an_empty_generator_completes(colour, recorded):
    _, collect = numbers(colour, range)
    assert collect(0) == []
    assert recorded.task_run()["state_type"] == "COMPLETED"


def test_a_generator_in_a_flow_belongs_to_its_run(colour, recorded):
    _, collect = numbers(colour, range)

    @flow
    def parent():
        return collect(3)

    assert parent() == [0, 1, 2]
    assert len(recorded.task_runs(recorded.flow_run())) == 1


def test_two_generators_interleave(recorded):
    @task
    def count(start):
        for n in range(start, start + 3):
            yield n, task_run.parameters["start"]

    @flow
    def parent():
        return list(zip(count(0), count(10), strict=True))

    assert parent() == [((n, 0), (n + 10, 10)) for n in range(3)]
    assert {run["state_type"] for run in recorded.task_runs()} == {"COMPLETED"}


def test_a_generator_closed_early_is_not_left_running(recorded):
    @task
    def endless():
        n = 0
        while True:
            yield n
            n += 1

    values = endless()
    assert next(values) == 0
    assert next(values) == 1
    values.close()
    assert recorded.task_run()["end_time"] is not None


def test_an_async_generator_closed_early_is_not_left_running(recorded):
    @task
    async def endless():
        n = 0
        while True:
            yield n
            n += 1

    async def main():
        values = endless()
        assert await anext(values) == 0
        await values.aclose()

    asyncio.run(main())
    assert recorded.task_run()["end_time"] is not None


def test_values_can_be_sent_in_and_the_return_value_comes_out():
    @task
    def echo():
        received = yield "ready"
        received = yield f"got {received}"
        return f"ended with {received}"

    @flow
    def parent():
        values = echo()
        seen = [next(values), values.send("a")]
        try:
            values.send("b")
        except StopIteration as stop:
            seen.append(stop.value)
        return seen

    assert parent() == ["ready", "got a", "ended with b"]


def test_a_task_that_returns_a_generator_object_returns_it():
    @task
    def give():
        return (n * n for n in range(4))

    assert list(give()) == [0, 1, 4, 9]
