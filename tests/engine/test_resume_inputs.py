"""Inputs that are hard to tell apart: on resume a call never gets the result of another one."""

import threading

import pytest

from tidemill import flow, task


@pytest.fixture
def in_another_order(colour, fails_once):
    """Runs a flow over a, b and c that fails at its end, and once more over c, b and a: what each call then gave."""

    def run(read):
        async def body(names):
            return {name: await read(name) for name in names}

        return colour.run(fails_once(body, "abc"), "cba")

    return run


def test_the_object_whose_method_is_called_is_an_input(colour, in_another_order):
    class Source:
        def __init__(self, name):
            self.name = name

        @task
        @colour.paint
        async def read(self):
            return self.name

    found = in_another_order(lambda name: colour.call(Source(name).read))
    assert found == {"a": "a", "b": "b", "c": "c"}


def test_the_object_whose_method_is_a_subflow_is_an_input(colour, in_another_order):
    class Source:
        def __init__(self, name):
            self.name = name

        @flow
        @colour.paint
        async def read(self):
            return self.name

    found = in_another_order(lambda name: colour.call(Source(name).read))
    assert found == {"a": "a", "b": "b", "c": "c"}


def test_the_class_whose_method_is_called_is_an_input(colour, in_another_order):
    class Source:
        @classmethod
        @task
        @colour.paint
        async def read(cls):
            return cls.__name__

    classes = {name: type(name, (Source,), {}) for name in "abc"}
    found = in_another_order(lambda name: colour.call(classes[name].read))
    assert found == {"a": "a", "b": "b", "c": "c"}


def test_objects_that_cannot_be_serialized_are_not_taken_for_each_other(colour, in_another_order):
    class Connection:
        def __init__(self, name):
            self.name, self.lock = name, threading.Lock()

    @task
    @colour.paint
    async def read(connection):
        return connection.name

    found = in_another_order(lambda name: colour.call(read, Connection(name)))
    assert found == {"a": "a", "b": "b", "c": "c"}


def test_iterators_are_not_taken_for_each_other(colour, in_another_order):
    @task
    @colour.paint
    async def first(items):
        return next(items)

    def letters(name):
        yield name

    found = in_another_order(lambda name: colour.call(first, letters(name)))
    assert found == {"a": "a", "b": "b", "c": "c"}
