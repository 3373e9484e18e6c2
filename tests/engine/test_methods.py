"""Methods, class methods and static methods as flows and tasks."""

import asyncio

import pytest

from tidemill import flow, task
from tidemill.runtime import task_run


@pytest.fixture(params=[flow, task], ids=["flow", "task"])
def decorator(request):
    return request.param


def make(colour, decorator):
    class Counter:
        step = 10

        def __init__(self, start):
            self.start = start

        @decorator
        @colour.paint
        async def add(self, x, *, times=1):
            return self.start + x * times

        @classmethod
        @decorator
        @colour.paint
        async def add_step(cls, x):
            return cls.step + x

        @decorator
        @classmethod
        @colour.paint
        async def add_step_too(cls, x):
            return cls.step + x

        @staticmethod
        @decorator
        @colour.paint
        async def double(x):
            return 2 * x

        @decorator
        @staticmethod
        @colour.paint
        async def double_too(x):
            return 2 * x

    class Faster(Counter):
        step = 100

    return Counter, Faster


def test_a_method(colour, decorator):
    counter_class, faster_class = make(colour, decorator)
    counter = counter_class(5)
    assert colour.run(counter.add, 1) == 6
    assert colour.run(counter.add, x=1, times=3) == 8
    assert colour.run(faster_class(7).add, 1) == 8
    assert colour.run(counter_class.add, counter, 2) == 7


@pytest.mark.parametrize("name", ["add_step", "add_step_too"])
def test_a_class_method(colour, decorator, name):
    counter_class, faster_class = make(colour, decorator)
    assert colour.run(getattr(counter_class, name), 1) == 11
    assert colour.run(getattr(counter_class(0), name), 1) == 11
    assert colour.run(getattr(faster_class, name), 1) == 101
    assert colour.run(getattr(faster_class(0), name), 1) == 101


@pytest.mark.parametrize("name", ["double", "double_too"])
def test_a_static_method(colour, decorator, name):
    counter_class, _ = make(colour, decorator)
    assert colour.run(getattr(counter_class, name), 4) == 8
    assert colour.run(getattr(counter_class(0), name), x=4) == 8


def test_two_objects_do_not_mix(colour, decorator):
    counter_class, _ = make(colour, decorator)
    first, second = counter_class(1), counter_class(2)
    bound = first.add
    assert colour.run(second.add, 0) == 2
    assert colour.run(bound, 0) == 1


def test_a_methods_options_are_reached_through_the_object(colour, decorator):
    counter_class, _ = make(colour, decorator)
    counter = counter_class(5)
    assert counter.add.name == counter_class.add.name == "add"
    assert colour.run(counter.add.with_options(retries=1), 1) == 6
    assert colour.run(counter.add, 1, return_state=True).result() == 6


def test_the_object_is_not_one_of_the_recorded_parameters(colour, recorded):
    counter_class, _ = make(colour, flow)
    colour.run(counter_class(5).add, 1)
    assert recorded.flow_run()["parameters"] == {"x": 1, "times": 1}


def test_a_method_task_in_a_method_flow(recorded):
    class Pipeline:
        def __init__(self):
            self.seen = []

        @task
        def step(self, x):
            self.seen.append(task_run.name)
            return x + 1

        @flow
        def run(self, x):
            return self.step(self.step(x))

    pipeline = Pipeline()
    assert pipeline.run(1) == 3
    assert len(pipeline.seen) == 2
    assert len(recorded.task_runs(recorded.flow_run())) == 2


def test_an_async_method_in_gather():
    class Pipeline:
        @task
        async def step(self, x):
            return x + 1

        @flow
        async def run(self):
            return await asyncio.gather(self.step(1), self.step(2))

    assert asyncio.run(Pipeline().run()) == [2, 3]


def test_a_method_of_an_object_that_defines_equality_only():
    class Point:
        __hash__ = None

        def __eq__(self, other):
            return True

        @task
        def value(self):
            return 1

    assert Point().value() == 1
