"""Every test that asks for `on` is written once, and holds on each task runner, for plain and async flows and tasks."""

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tidemill
from tidemill import ProcessPoolTaskRunner, SequentialTaskRunner, ThreadPoolTaskRunner
from tidemill.runners.base import TaskRunner
from tidemill.runners.children import Child, Children
from tidemill.runners.dask import DaskTaskRunner
from tidemill.serializers import dump_by_value

# A runner that is added here is held to all of test_conformance.py.
RUNNERS: dict[str, Callable[[], TaskRunner]] = {
    "threads": lambda: ThreadPoolTaskRunner(max_workers=4),
    "sequential": SequentialTaskRunner,
    "processes": lambda: ProcessPoolTaskRunner(max_workers=2),
    "dask": lambda: DaskTaskRunner(n_workers=2),
}

# Runners that execute tasks in this very process, so that what cannot be pickled may be passed.
IN_THIS_PROCESS = {"threads", "sequential"}

COLOURS = {"plain": False, "async": True}


class On:
    """A task runner, the colour of the flows that use it, and the colour of the tasks that it executes.

    A body is written once, as `async def`. In the plain colour it becomes a plain function; nothing in it suspends, so that
    running it to its end is one `send`. What a task's body refers to travels with it to another process, so it must not refer
    to this object: `call` and `pause` are functions that stand for themselves.
    """

    def __init__(
        self, kind: str, runner: TaskRunner, flow_is_async: bool, task_is_async: bool, painted: Callable[..., Any]
    ) -> None:
        self.new_runner = RUNNERS[kind]
        self.overlaps = runner.overlaps  # whether several tasks run at once
        self.in_this_process = kind in IN_THIS_PROCESS
        self._runner = runner
        self._painted = painted
        self.flow_is_async = flow_is_async
        self.task_is_async = task_is_async
        self.call = _call_in(task_is_async)
        self.pause = _pause_in(task_is_async)  # in a task's body
        self.pause_flow = _pause_in(flow_is_async)

    def task(self, body: Callable[..., Any] | None = None, **options: Any) -> Any:
        """`@task`, in the tasks' colour."""
        if body is None:
            return lambda body: self.task(body, **options)
        return tidemill.task(**options)(self._painted(body, self.task_is_async))

    def flow(self, body: Callable[..., Any] | None = None, **options: Any) -> Any:
        """`@flow` on the runner, in the flows' colour."""
        if body is None:
            return lambda body: self.flow(body, **options)
        options.setdefault("task_runner", self._runner)
        return tidemill.flow(**options)(self._painted(body, self.flow_is_async))

    async def value(self, future: Any) -> Any:
        """In a flow: the value of a future or of a list of futures, or its exception."""
        return await future if self.flow_is_async else future.result()

    async def end(self, future: Any) -> Any:
        """In a flow: waits for a future, whatever becomes of it, and gives it."""
        if self.flow_is_async:
            await future.until_done()
        else:
            future.wait()
        return future

    def run(self, flow: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls a flow from the test."""
        if not self.flow_is_async:
            return flow(*args, **kwargs)

        async def main() -> Any:
            return await flow(*args, **kwargs)

        return asyncio.run(main())


def _call_in(is_async: bool) -> Callable[..., Any]:
    async def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        value = function(*args, **kwargs)
        return await value if is_async else value

    return call


def _pause_in(is_async: bool) -> Callable[[], Any]:
    async def pause() -> None:
        if is_async:
            await asyncio.sleep(0.005)
        else:
            time.sleep(0.005)

    return pause


def _every_kind() -> Iterator[Any]:
    for runner, of_flow, of_task in itertools.product(RUNNERS, COLOURS, COLOURS):
        marks = [] if runner in IN_THIS_PROCESS else [pytest.mark.program]
        yield pytest.param((runner, of_flow, of_task), id=f"{runner}, {of_flow} flow, {of_task} task", marks=marks)


@pytest.fixture(scope="module")
def kept_open() -> Iterator[Callable[[str], TaskRunner]]:
    """Runners whose processes go on from test to test, as they do from flow run to flow run while one is under way."""
    opened: dict[str, tuple[TaskRunner, TaskRunner]] = {}

    def get(kind: str) -> TaskRunner:
        if kind not in opened:
            runner = RUNNERS[kind]()
            holder = runner.fresh()
            holder.start(lambda _: None)
            opened[kind] = runner, holder
        return opened[kind][0]

    yield get
    for _, holder in opened.values():
        holder.close()


@pytest.fixture(params=_every_kind())
def on(request: pytest.FixtureRequest, kept_open: Callable[[str], TaskRunner], painted: Callable[..., Any]) -> On:
    kind, flow_colour, task_colour = request.param
    return On(kind, kept_open(kind), COLOURS[flow_colour], COLOURS[task_colour], painted)


@pytest.fixture
def story(recorded: Any) -> Callable[[dict[str, Any]], list[str]]:
    """The names of the states that a run went through."""
    return lambda run: [state["name"] for state in recorded.states(run)]


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child.start()
    yield child
    child.kill()


@pytest.fixture
def children() -> Iterator[Children]:
    children = Children(most_idle=2)
    yield children
    children.close()


@pytest.fixture(scope="session")
def call() -> Callable[..., Any]:
    """Calls a function in a child. It and the modules it imports travel; its value comes back as JSON."""

    def in_child(child: Child, function: Callable[[Any], Any], argument: Any = None) -> Any:
        def executed(argument: Any) -> bytes:
            return json.dumps(function(argument)).encode()

        executed.__module__ = "__main__"  # by value, whatever the name of this file is there
        function.__module__ = "__main__"
        return json.loads(child.call(dump_by_value((executed, argument))))

    return in_child


class Gauge:
    """Counts how many are inside it at once, and lets nobody out before so many have been."""

    def __init__(self, wanted: int) -> None:
        self.most = self.inside = 0
        self._wanted = wanted
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self.most >= self._wanted, timeout=60)

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self.inside -= 1


@pytest.fixture(scope="session")
def new_gauge() -> type[Gauge]:
    return Gauge
