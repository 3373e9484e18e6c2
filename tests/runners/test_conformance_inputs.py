"""Futures as arguments, failures upstream, and waiting, on every task runner."""

import collections
import dataclasses

import pytest

from tidemill import (
    allow_failure,
    as_completed,
    quote,
    unmapped,
    wait,
)
from tidemill.exceptions import UnfinishedRun
from tidemill.states import StateType

# Futures as arguments


Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass
class Holder:
    held: object
    other: int = 5


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenHolder:
    held: object


# What a future of 7 is put into, and how that looks in the task.
WRAPPED = {
    "7": lambda future: future,
    "[1, 7]": lambda future: [1, future],
    "(7, 7)": lambda future: (future, future),
    "{7}": lambda future: {future},
    "frozenset({7})": lambda future: frozenset([future]),
    "{'a': 7, 'b': [7]}": lambda future: {"a": future, "b": [future]},
    "Pair(left=7, right=2)": lambda future: Pair(future, 2),
    "Holder(held=7, other=5)": Holder,
    "FrozenHolder(held=[7])": lambda future: FrozenHolder([future]),
    "[{'deep': (Holder(held={'x': 7}, other=5),)}]": lambda future: [{"deep": (Holder({"x": future}),)}],
}


def test_a_future_in_an_argument_becomes_its_value(on):
    @on.task
    async def give():
        return 7

    @on.task
    async def show(x, *, y):
        return repr(x), repr(y)

    @on.flow
    async def parent():
        future = give.submit()
        return [await on.value(show.submit(wrap(future), y=wrap(future))) for wrap in WRAPPED.values()]

    assert on.run(parent) == [(shown, shown) for shown in WRAPPED]


def test_a_future_as_argument_of_a_call(on):
    call = on.call

    @on.task
    async def add(x, y):
        return x + y

    @on.flow
    async def parent():
        future = add.submit(1, 2)
        if on.flow_is_async or not on.task_is_async:
            return await call(add, future, y=[future][0])
        return await on.value(add.submit(future, future))

    assert on.run(parent) == 6


def test_quoted_arguments_are_taken_as_they_are(on):
    @on.task
    async def take(value):
        return value

    @on.flow
    async def parent():
        return await on.value(take.submit(quote([1, {"a": 2}])))

    assert on.run(parent) == [1, {"a": 2}]


def test_the_list_that_holds_a_future_is_left_as_it_was(on):
    @on.task
    async def double(x):
        return [2 * each for each in x] if isinstance(x, list) else 2 * x

    @on.flow
    async def parent():
        given = [double.submit(1)]
        values = await on.value(double.submit(given))
        return values, hasattr(given[0], "task_run_id")

    assert on.run(parent) == ([4], True)


def test_a_chain_and_a_diamond(on, recorded):
    @on.task
    async def add(*numbers):
        return sum(numbers) + 1

    @on.flow
    async def parent():
        top = add.submit()
        sides = [add.submit(top), add.submit(top)]
        last = add.submit(*sides)
        for _ in range(5):
            last = add.submit(last)
        return await on.value(last)

    assert on.run(parent) == 10
    assert {run["state_type"] for run in recorded.task_runs()} == {"COMPLETED"}


# Failures upstream


def test_downstream_of_a_failure_nothing_starts(on, recorded, tmp_path):
    path = tmp_path / "started"

    @on.task
    async def fail():
        raise LookupError("gone")

    @on.task
    async def after(x):
        path.touch()
        return x

    @on.flow
    async def parent():
        failed = fail.submit()
        first = after.submit([failed])
        second = after.submit(first)
        third = after.submit(1, wait_for=[second])
        for future in (failed, first, second, third):
            await on.end(future)
        assert all(future.done() for future in (first, second, third))
        with pytest.raises(UnfinishedRun, match=r"after-\w+-1.*never started.*after-\w+-0"):
            await on.value(second)
        return [future.state for future in (failed, first, second, third)]

    state = on.run(parent, return_state=True)
    assert state.is_failed()
    failed, *rest = state.data
    assert failed.is_failed()
    assert [(one.type.value, one.name) for one in rest] == [("PENDING", "NotReady")] * 3
    assert not path.exists()
    runs = sorted(recorded.task_runs(), key=lambda run: run["id"])
    assert [run["state_name"] for run in runs] == ["Failed", "NotReady", "NotReady", "NotReady"]
    message = runs[1]["state"]["message"]
    assert message == f"Upstream task run '{runs[0]['name']}' did not reach a 'COMPLETED' state."
    assert runs[1]["run_count"] == 0


def test_allow_failure_gives_the_exception_as_value(on):
    @on.task
    async def fail():
        raise LookupError("gone")

    @on.task
    async def after(x, y=None):
        return repr(x), repr(y)

    @on.flow
    async def parent():
        failed = fail.submit()
        return (
            await on.value(after.submit(allow_failure(failed))),
            await on.value(after.submit(allow_failure([failed, 1]), y=2)),
            await on.value(after.submit(1, wait_for=[allow_failure(failed)])),
        )

    assert on.run(parent) == (
        ("LookupError('gone')", "None"),
        ("[LookupError('gone'), 1]", "2"),
        ("1", "None"),
    )


def test_allow_failure_does_not_excuse_the_other_arguments(on):
    @on.task
    async def fail():
        raise LookupError("gone")

    @on.task
    async def after(x, y):
        return 1

    @on.flow
    async def parent():
        failed = fail.submit()
        future = await on.end(after.submit(allow_failure(failed), failed))
        return [future.state.name]

    assert on.run(parent) == ["NotReady"]


def test_wait_for_orders_without_passing_a_value(on, tmp_path):
    path = tmp_path / "order"
    pause = on.pause

    @on.task
    async def step(name, pauses=0):
        for _ in range(pauses):
            await pause()
        with open(path, "a") as file:
            file.write(f"{name}\n")

    @on.flow
    async def parent():
        slow = step.submit("slow", pauses=10)
        alone = step.submit("alone", wait_for=slow)
        last = step.submit("last", wait_for=[alone, slow])
        await on.value(step.submit("very last", wait_for=(one for one in [last])))

    on.run(parent)
    assert path.read_text().splitlines() == ["slow", "alone", "last", "very last"]


# Waiting


def test_return_state_waits_for_the_state(on, recorded):
    @on.task
    async def step(x):
        if x < 0:
            raise LookupError("gone")
        return x

    @on.flow
    async def parent():
        good, bad = step.submit(1, return_state=True), step.submit(-1, return_state=True)
        return good.result(), bad.type, repr(bad.result(raise_on_failure=False))

    if on.flow_is_async and on.task_is_async:
        with pytest.raises(RuntimeError, match=r"step\.submit\(return_state=True\).*await future"):
            on.run(parent)
        assert recorded.task_runs() == []
    else:
        assert on.run(parent) == (1, StateType.FAILED, "LookupError('gone')")


def test_wait_and_as_completed(on):
    @on.task
    async def step(x):
        return x

    @on.flow
    async def parent():
        futures = step.map(range(5))
        if on.flow_is_async:
            for future in futures:
                await on.end(future)
        done, not_done = wait(futures)
        assert (done, not_done) == (set(futures), set())
        return sorted(future.result() for future in as_completed(futures)), wait(futures, timeout=0).done == done

    assert on.run(parent) == ([0, 1, 2, 3, 4], True)


def test_map_with_what_is_the_same_for_every_call(on):
    @on.task
    async def join(a, b, c="", *, d):
        return f"{a}{b}{c}{d}"

    @on.flow
    async def parent():
        futures = join.map([1, 2, 3], unmapped(["x"]), "yz", d=(one for one in "abc"))
        return await on.value(futures)

    assert on.run(parent) == ["1['x']yza", "2['x']yzb", "3['x']yzc"]


def test_map_over_futures(on):
    @on.task
    async def double(x):
        return x * 2

    @on.flow
    async def parent():
        return await on.value(double.map(double.map([1, 2, 3])))

    assert on.run(parent) == [4, 8, 12]


def test_one_failure_in_a_map_leaves_the_others(on):
    @on.task
    async def invert(x):
        return 1 / x

    @on.flow
    async def parent():
        return invert.map([1, 0, 2])

    state = on.run(parent, return_state=True)
    assert str(state) == "Failed('1/3 states failed.')"
    assert [one.type.value for one in state.data] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert isinstance(state.result(raise_on_failure=False), ZeroDivisionError)
