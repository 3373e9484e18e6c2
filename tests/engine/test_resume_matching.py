"""Which finished run a call of the next attempt continues: also when the source was edited, and calls come in another order."""

import asyncio
import random

import pytest

from tidemill import flow, task

KEY = "the only run"


def fail(*_):
    raise OSError("the bug")


def is_bug(value):
    """Whether it is the bug itself, or what says that something could not start because of it."""
    while value.__cause__ is not None:
        value = value.__cause__
    return isinstance(value, OSError) and str(value) == "the bug"


def test_a_bug_in_a_later_task_is_mended(colour, attempt, define):
    extract = define("extract", lambda: [1, 2, 3])

    async def body():
        return await colour.call(load, await colour.call(extract))

    load = define("load", fail)
    value, done = attempt(body)
    assert is_bug(value)
    assert done == [("extract",), ("load", [1, 2, 3])]
    load = define("load", sum)
    assert attempt(body) == (6, [("load", [1, 2, 3])])


def test_an_edited_task_that_had_finished_is_not_executed_again(colour, attempt, define):
    number = define("number", lambda: 1)
    broken = define("broken", fail)

    async def body():
        value = await colour.call(number)
        await colour.call(broken)
        return value

    attempt(body)
    number = define("number", lambda: 2, description="now documented", retries=3, tags=["new"])
    broken = define("broken", str)
    assert attempt(body) == (1, [("broken",)])


def test_a_task_inserted_before_the_others(colour, attempt, define, recorded):
    step = define("step", lambda n: n + 1)
    broken = define("broken", fail)
    inserted = define("inserted", lambda: "new")

    async def before():
        return await colour.call(broken, await colour.call(step, await colour.call(step, 10)))

    async def after():
        await colour.call(inserted)
        await colour.call(step, 0)
        return await colour.call(broken, await colour.call(step, await colour.call(step, 10)))

    attempt(before)
    broken = define("broken", lambda n: -n)
    assert attempt(after) == (-12, [("inserted",), ("step", 0), ("broken", 12)])
    assert len({run["name"] for run in recorded.task_runs()}) == 5


def test_a_task_that_was_taken_out(colour, attempt, define):
    step = define("step", lambda n: n + 1)
    broken = define("broken", fail)

    async def before():
        first, second, third = [await colour.call(step, n) for n in (1, 2, 3)]
        return await colour.call(broken, first + second + third)

    async def after():
        first, third = [await colour.call(step, n) for n in (1, 3)]
        return await colour.call(broken, first + third)

    attempt(before)
    broken = define("broken", lambda n: -n)
    assert attempt(after) == (-6, [("broken", 6)])


def test_only_what_depends_on_a_changed_input_is_executed_again(colour, attempt, define):
    step = define("step", lambda n: n + 1)
    broken = define("broken", fail)

    async def body(n):
        left = await colour.call(step, await colour.call(step, 100))
        right = await colour.call(step, await colour.call(step, n))
        await colour.call(broken)
        return left + right

    attempt(body, 0)
    broken = define("broken", str)
    assert attempt(body, 50) == (102 + 52, [("step", 50), ("step", 51), ("broken",)])


def test_a_changed_input_that_gives_the_same_result_goes_no_further(colour, attempt, define):
    even = define("even", lambda n: n - n % 2)
    after = define("after", lambda n: n + 1)
    broken = define("broken", fail)

    async def body(n):
        value = await colour.call(after, await colour.call(even, n))
        await colour.call(broken)
        return value

    attempt(body, 1000)
    broken = define("broken", str)
    assert attempt(body, 1001) == (1001, [("even", 1001), ("broken",)])


@pytest.mark.parametrize("seed", range(3))
def test_submissions_in_another_order(colour, attempt, define, seed):
    square = define("square", lambda n: n * n)
    broken = define("broken", fail)
    order = list(range(60))

    async def body():
        random.Random(seed).shuffle(order)
        futures = {n: square.submit(n) for n in order}
        values = {n: await future if colour.is_async else future.result() for n, future in futures.items()}
        await colour.call(broken)
        return values

    attempt(body)
    broken = define("broken", str)
    values, done = attempt(body)
    assert (values, done) == ({n: n * n for n in range(60)}, [("broken",)])


def test_the_failed_half_of_a_map(colour, attempt, define):
    square = define("square", lambda n: n * n if n < 10 else fail())

    async def body():
        futures = square.map(range(20))
        return await futures if colour.is_async else futures.result()

    value, done = attempt(body)
    assert is_bug(value)  # when the first had failed, those that had not started did not start any more
    finished = {call for call in done if call[1] < 10}
    square = define("square", lambda n: n * n)
    value, done = attempt(body)
    assert value == [n * n for n in range(20)]
    assert sorted(done) == sorted({("square", n) for n in range(20)} - finished)


def test_a_map_that_has_grown(colour, attempt, define):
    square = define("square", lambda n: n * n)
    broken = define("broken", fail)

    async def body(count):
        futures = square.map(range(count))
        values = await futures if colour.is_async else futures.result()
        await colour.call(broken)
        return values

    attempt(body, 5)
    broken = define("broken", str)
    value, done = attempt(body, 8)
    assert value == [n * n for n in range(8)]
    assert sorted(done) == [("broken",), ("square", 5), ("square", 6), ("square", 7)]


def test_equal_calls_give_each_its_own_result(colour, attempt, define):
    drawn = iter(range(100))
    draw = define("draw", lambda: next(drawn))
    broken = define("broken", fail)

    async def body():
        values = [await colour.call(draw) for _ in range(20)]
        await colour.call(broken)
        return values

    attempt(body)
    broken = define("broken", str)
    assert attempt(body) == (list(range(20)), [("broken",)])


def test_equal_calls_of_which_there_are_more_now(colour, attempt, define, recorded):
    drawn = iter(range(100))
    draw = define("draw", lambda: next(drawn))
    broken = define("broken", fail)

    async def body(count):
        values = [await colour.call(draw) for _ in range(count)]
        await colour.call(broken)
        return values

    attempt(body, 3)
    broken = define("broken", str)
    assert attempt(body, 5) == ([0, 1, 2, 3, 4], [("draw",), ("draw",), ("broken",)])
    assert len({run["name"] for run in recorded.task_runs()}) == 6


def test_a_third_attempt_finds_what_the_second_has_added(colour, attempt, define):
    step = define("step", lambda n: n)
    broken = define("broken", fail)

    async def body(count):
        values = [await colour.call(step, n) for n in range(count)]
        await colour.call(broken)
        return values

    assert attempt(body, 2)[1] == [("step", 0), ("step", 1), ("broken",)]
    assert attempt(body, 4)[1] == [("step", 2), ("step", 3), ("broken",)]
    assert attempt(body, 4)[1] == [("broken",)]
    broken = define("broken", str)
    assert attempt(body, 5) == ([0, 1, 2, 3, 4], [("step", 4), ("broken",)])


def test_futures_and_values_are_the_same_input(colour, attempt, define):
    source = define("source", lambda: list(range(1000)))
    total = define("total", sum)
    broken = define("broken", fail)

    async def with_future():
        future = total.submit(source.submit())
        value = await future if colour.is_async else future.result()
        await colour.call(broken)
        return value

    async def with_value():
        value = await colour.call(total, await colour.call(source))
        await colour.call(broken)
        return value

    attempt(with_future)
    broken = define("broken", str)
    value, done = attempt(with_value)
    assert (value, [name for name, *_ in done]) == (499500, ["broken"])


def test_tasks_called_inside_a_task_are_not_repeated(colour, attempt, executed):
    problems = [OSError("the bug")]

    @task
    @colour.paint
    async def inner(n):
        executed.append(("inner", n))
        return n + 1

    @task
    @colour.paint
    async def outer():
        executed.append(("outer",))
        values = [await colour.call(inner, n) for n in range(3)]
        if problems:
            raise problems.pop()
        return values

    async def body():
        return await colour.call(outer)

    attempt(body)
    assert attempt(body) == ([1, 2, 3], [("outer",)])


def test_async_tasks_gathered_in_another_order(executed):
    problems = [OSError("the bug")]
    order = list(range(50))

    @task
    async def slow_square(n):
        await asyncio.sleep(0)
        executed.append(n)
        return n * n

    @flow(idempotency_key=KEY)
    async def gathered():
        random.shuffle(order)
        values = dict(zip(order, await asyncio.gather(*map(slow_square, order)), strict=True))
        if problems:
            raise problems.pop()
        return values

    asyncio.run(gathered(return_state=True))
    assert asyncio.run(gathered()) == {n: n * n for n in range(50)}
    assert sorted(executed) == list(range(50))
