"""Where the running code is: in which flow run and task run, with which tags."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from os import getpid
from typing import Any, Protocol

from tidemill.colour import IO
from tidemill.engine.definitions import TaskDefinition
from tidemill.engine.dependencies import Inputs
from tidemill.engine.earlier import EarlierRuns
from tidemill.engine.inputs import TrackedResults
from tidemill.exceptions import MissingContextError
from tidemill.futures import TaskRunFuture
from tidemill.ids import new_id
from tidemill.interrupts import Stop
from tidemill.logs import RunLog, RunLogger, flow_run_log
from tidemill.records import FlowRun, TaskRun, TaskRunEntry
from tidemill.results import AS_USUAL, ResultOptions
from tidemill.runners.base import TaskRunner
from tidemill.states import State
from tidemill.texts import storable


class Submitted(Protocol):
    """The submitted task runs of a flow run, as the run itself knows them (see `submissions.Submissions`)."""

    problem: BaseException | None
    ending: str | None

    def outstanding(self) -> list[TaskRunFuture[Any]]: ...

    def drop(self, reason: str) -> None: ...

    async def stop(self, io: IO, reason: str) -> None: ...

    def close(self) -> None: ...

    def submit(
        self,
        task: TaskDefinition,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inputs: Inputs | None,
    ) -> TaskRunFuture[Any]: ...


class FlowRunContext:
    """A flow run while its function executes."""

    __slots__ = (
        "_counts_in",
        "attempt",
        "children",
        "children_judged",
        "counters",
        "describe",
        "earlier",
        "flow_name",
        "flow_version",
        "id",
        "log",
        "log_prints",
        "mark",
        "name",
        "parameters",
        "parent",
        "pid",
        "results",
        "stop",
        "submissions",
        "tags",
        "task_runner",
        "tracked",
        "unkept_said",
    )

    def __init__(
        self,
        *,
        flow_name: str,
        flow_version: str | None,
        parameters: dict[str, Any],
        log: RunLog,
        parent: FlowRunContext | None,
        tags: tuple[str, ...],
        log_prints: bool,
        describe: Callable[[], FlowRun],
        task_runner: TaskRunner | None = None,
        results: ResultOptions = AS_USUAL,
    ) -> None:
        self.flow_name = flow_name
        self.flow_version = flow_version
        self.id = log.flow_run_id or ""
        self.name: str = log.extra["flow_run_name"]
        self.parameters = parameters
        self.log = log
        self.parent = parent
        self.tags = tags
        self.log_prints = log_prints
        self.describe = describe
        self.pid = self._counts_in = getpid()
        self.mark = ""
        self.stop: Stop | None = None
        self.unkept_said: set[str] = set()
        self.submissions: Submitted | None = None
        self.task_runner: TaskRunner | None = task_runner or (parent.task_runner if parent is not None else None)
        self.results = results if parent is None else results.within(parent.results)
        self.begin_attempt(1, None)

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled it, or a flow run around it."""
        if self.stop is not None and self.stop.requested:
            return True
        return self.parent is not None and self.parent.is_cancelled

    def rename(self, name: str, id: str | None = None) -> None:
        """Gives the run another name, before it is recorded; or makes it a run that is recorded already."""
        self.id = id or self.id
        self.name = name
        self.log = flow_run_log(self.log.recorder, self.id, name, self.flow_name)

    def begin_attempt(self, attempt: int, earlier: EarlierRuns | None) -> None:
        """Starts anew: the attempt is judged by its own calls, which continue the runs that earlier attempts have left."""
        self.attempt = attempt
        self.earlier = earlier
        self.counters: dict[str, count[int]] = {}
        self.children: list[State[Any]] = []
        self.children_judged: list[State[Any]] | None = None
        self.tracked = TrackedResults()

    def judged_by(self) -> list[State[Any]]:
        """The states of the runs by which this one is judged, in the order in which they were created."""
        self.children_judged = self.children if self.submissions is None else sorted(self.children, key=_id_of)
        return self.children_judged

    def next_dynamic_key(self, task_key: str) -> str:
        """The number of a task's run within this attempt. Another process that executes a part of the run (a forked child, a
        worker) counts by itself, so it adds a mark of its own."""
        number = next(self.counters.setdefault(task_key, count()))
        if self._counts_in != getpid():
            self._counts_in, self.mark = getpid(), f".{new_id()[-8:]}"
        return f"{number}{self.mark}"


def _id_of(state: State[Any]) -> str:
    return state.state_details.task_run_id or state.state_details.flow_run_id or ""


class Alone:
    """What stands in for a flow run where a task is called outside of one: counts the runs of each task in this process."""

    def __init__(self) -> None:
        self.unkept_said: set[str] = set()
        self.submissions: Submitted | None = None
        self.task_runner: TaskRunner | None = None
        self._counters: dict[str, count[int]] = {}

    def next_dynamic_key(self, task_key: str) -> str:
        return str(next(self._counters.setdefault(task_key, count())))


ALONE = Alone()


class TaskRunContext:
    """A task run while its function executes."""

    __slots__ = ("around", "describe", "entry", "flow_run", "log", "log_prints", "parameters", "tags", "task")

    def __init__(
        self,
        task: TaskDefinition,
        entry: TaskRunEntry,
        parameters: dict[str, Any],
        log: RunLog,
        around: RunContext | None,
        flow_run: FlowRunContext | None,
        tags: tuple[str, ...],
        log_prints: bool,
        describe: Callable[[], TaskRun],
    ) -> None:
        self.task = task
        self.entry = entry
        self.parameters = parameters
        self.log = log
        self.around = around
        self.flow_run = flow_run
        self.tags = tags
        self.log_prints = log_prints
        self.describe = describe


RunContext = FlowRunContext | TaskRunContext

_current: ContextVar[RunContext | None] = ContextVar("tidemill_run", default=None)
_tags: ContextVar[tuple[str, ...]] = ContextVar("tidemill_tags", default=())

# The outermost flow runs that execute in this process, so that a thread without a context of its own can be placed.
_roots: dict[int, FlowRunContext] = {}
_roots_lock = threading.Lock()

current_run = _current.get


class running:
    """Makes a run the current one for a `with` block."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._token = _current.set(self._context)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)


@contextmanager
def root_flow_run(context: FlowRunContext) -> Generator[None]:
    """Keeps an outermost flow run among those of the process for a block."""
    with _roots_lock:
        _roots[id(context)] = context
    try:
        yield
    finally:
        with _roots_lock:
            del _roots[id(context)]


def run_here() -> RunContext | None:
    """The run that this code belongs to. A thread started without a context belongs to the process's only flow run, if it
    has just one."""
    context = _current.get()
    if context is None and len(_roots) == 1 and threading.current_thread() is not threading.main_thread():
        with _roots_lock:
            return next(iter(_roots.values()), None)
    return context


def enclosing_flow_run() -> FlowRunContext | None:
    """The flow run that a task or flow called here becomes part of."""
    context = _current.get()
    return context.flow_run if isinstance(context, TaskRunContext) else context


def current_tags() -> tuple[str, ...]:
    return _tags.get()


@contextmanager
def tags(*names: str) -> Generator[set[str]]:
    """Adds tags to every flow and task run that begins inside the `with` block.

    Example:
        ```python
        with tags("nightly", "eu"):
            my_flow()
        ```
    """
    if not all(isinstance(name, str) for name in names):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"tags() takes texts, as in tags('nightly', 'eu'), not {names!r}.")
    merged = tuple(dict.fromkeys((*_tags.get(), *map(storable, names))))
    token = _tags.set(merged)
    try:
        yield set(merged)
    finally:
        _tags.reset(token)


def get_run_logger() -> RunLogger:
    """The logger of the run that calls it: a standard `logging` logger whose lines are recorded with the run.

    Raises:
        MissingContextError: there is no run here.
    """
    context = run_here()
    if context is None:
        raise MissingContextError(
            "There is no active flow or task run here, so there is no run logger. Call it inside a flow or task; in a "
            "thread of your own, start the thread with `contextvars.copy_context().run` or pass it the logger."
        )
    return RunLogger(context.log)
