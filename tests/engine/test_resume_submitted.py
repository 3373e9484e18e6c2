"""Submitted tasks that wait for others, in the next attempt of their flow run."""

from tidemill import allow_failure

KEY = "the only run"


def fail(*_):
    raise OSError("the bug")


def is_bug(value):
    """Whether it is the bug itself, or what says that something could not start because of it."""
    while isinstance(value, Exception) and value.__cause__ is not None:
        value = value.__cause__
    return isinstance(value, OSError) and str(value) == "the bug"


def test_what_was_not_ready_is_executed_when_it_is(colour, attempt, define):
    source = define("source", fail)
    sink = define("sink", lambda n: n + 1)

    async def body():
        future = sink.submit(source.submit())
        return await future if colour.is_async else future.result()

    value, done = attempt(body)
    assert is_bug(value)
    assert done == [("source",)]
    source = define("source", lambda: 1)
    assert attempt(body) == (2, [("source",), ("sink", 1)])


def test_what_was_allowed_to_fail_is_executed_again_with_what_follows(colour, attempt, define):
    source = define("source", fail)
    sink = define("sink", lambda n: "failed" if is_bug(n) else n)
    broken = define("broken", fail)

    async def body():
        future = sink.submit(allow_failure(source.submit()))
        value = await future if colour.is_async else future.result()
        await colour.call(broken)
        return value

    attempt(body)
    source, broken = define("source", lambda: 1), define("broken", str)
    assert attempt(body) == (1, [("source",), ("sink", 1), ("broken",)])


def test_a_chain_is_continued_where_it_broke(colour, attempt, define):
    step = define("step", lambda n: n + 1 if n != 10 else fail())

    async def body():
        future = step.submit(0)
        for _ in range(19):
            future = step.submit(future)
        return await future if colour.is_async else future.result()

    value, done = attempt(body)
    assert is_bug(value)
    assert done == [("step", n) for n in range(11)]
    step = define("step", lambda n: n + 1)
    assert attempt(body) == (20, [("step", n) for n in range(10, 20)])


def test_what_was_waited_for_is_not_repeated(colour, attempt, define):
    first = define("first", lambda: None)
    second = define("second", fail)

    async def body():
        future = second.submit(wait_for=[first.submit()])
        return await future if colour.is_async else future.result()

    attempt(body)
    second = define("second", lambda: 2)
    assert attempt(body) == (2, [("second",)])


def test_layers_of_which_some_were_done(colour, attempt, define, recorded):
    node = define("node", lambda layer, place, *_: (layer, place) if (layer, place) != (2, 3) else fail())

    async def body():
        futures = []
        for layer in range(5):
            futures = [node.submit(layer, place, *futures) for place in range(6)]
        return [await future if colour.is_async else future.result() for future in futures]

    value, done = attempt(body)
    assert is_bug(value)
    assert len(done) == 18
    node = define("node", lambda layer, place, *_: (layer, place))
    value, done = attempt(body)
    assert value == [(4, place) for place in range(6)]
    assert len(done) == 13
    assert len(recorded.task_runs()) == 30
