"""The two colours of the engine, and what it recorded: each test here is written once and holds for both."""

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tidemill import flow, task


class Colour:
    """Plain or async: makes functions of that colour and calls them.

    A body is written once, as `async def`, and waits for flows and tasks with `await colour.call(fn, ...)`. `paint`
    leaves it as it is for the async colour and turns it into a plain function for the other: there nothing suspends,
    so running the body to its end is one `send`.
    """

    def __init__(self, name: str, painted: Callable[..., Any]) -> None:
        self.name = name
        self.is_async = name == "async"
        self.paint = functools.partial(painted, is_async=self.is_async)

    def isolated(self, body: Callable[..., Any] | None = None, **options: Any) -> Any:
        """`@task` of this colour, executed in a process of its own."""
        if body is None:
            return lambda body: self.isolated(body, **options)
        return task(isolation="process", **options)(self.paint(body))

    async def call(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls a flow or task from a body."""
        value = fn(*args, **kwargs)
        return await value if self.is_async else value

    def run(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Calls a flow or task from the test."""
        if not self.is_async:
            return fn(*args, **kwargs)

        async def main() -> Any:
            return await fn(*args, **kwargs)

        return asyncio.run(main())


@pytest.fixture(params=["plain", "async"])
def colour(request: pytest.FixtureRequest, painted: Callable[..., Any]) -> Colour:
    return Colour(request.param, painted)


@pytest.fixture(params=["call", "submit"])
def begin(request: pytest.FixtureRequest, colour: Colour) -> Callable[..., Any]:
    """Executes a task from a flow's body, called directly or submitted, and gives its value."""

    async def directly(each: Any, *args: Any, **kwargs: Any) -> Any:
        return await colour.call(each, *args, **kwargs)

    async def submitted(each: Any, *args: Any, return_state: bool = False, **kwargs: Any) -> Any:
        future = each.submit(*args, **kwargs)
        if not colour.is_async:
            return future.wait() if return_state else future.result()
        if return_state:
            await future.until_done()
            return future.state
        return await future

    return directly if request.param == "call" else submitted


class Gate:
    """A task that ends when it is told to."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

        @task
        def gate(x: Any = None) -> Any:
            self.begun.set()
            assert self.open.wait(60)
            return x

        self.task = gate


@pytest.fixture
def new_gate() -> Iterator[Callable[[], Gate]]:
    """Makes tasks that end when they are told to, and at the latest with the test."""
    made: list[Gate] = []

    def make() -> Gate:
        made.append(Gate())
        return made[-1]

    yield make
    for gate in made:
        gate.open.set()


@pytest.fixture
def gate(new_gate: Callable[[], Gate]) -> Gate:
    return new_gate()


@pytest.fixture
def executed() -> list[Any]:
    """The calls that were executed."""
    return []


@pytest.fixture
def attempt(colour: Colour, executed: list[Any]) -> Callable[..., Any]:
    """Runs a body as the next attempt of the one flow run; gives its value, and what it had executed."""

    def run(body: Callable[..., Any], *args: Any, **options: Any) -> tuple[Any, list[Any]]:
        executed.clear()
        edited = flow(name="edited", idempotency_key="the only run", **options)(colour.paint(body))
        state = colour.run(edited, *args, return_state=True)
        return state.result(raise_on_failure=False), list(executed)

    return run


@pytest.fixture
def fails_once(colour: Colour) -> Callable[..., Any]:
    """A flow whose first call, which has been made, failed after its body; the next gives what the body gives."""

    def make(body: Callable[..., Any], *args: Any) -> Any:
        problems = [OSError("later")]

        @functools.wraps(body)
        async def resumed(*args: Any) -> Any:
            value = await body(*args)
            if problems:
                raise problems.pop()
            return value

        once_more = flow(name="resumed", idempotency_key="the only run")(colour.paint(resumed))
        assert colour.run(once_more, *args, return_state=True).is_failed()
        return once_more

    return make


@pytest.fixture
def define(colour: Colour, executed: list[Any]) -> Callable[..., Any]:
    """Makes tasks; two of one name are the same task with an edited source."""

    def make(name: str, function: Callable[..., Any], **options: Any) -> Any:
        async def noted(*args: Any) -> Any:
            executed.append((name, *args))
            return function(*args)

        noted.__name__ = name
        noted.__qualname__ = name
        return task(**options)(colour.paint(noted))

    return make
