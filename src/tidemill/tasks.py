"""`@task`: a function whose calls are task runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable
from datetime import timedelta
from os import PathLike
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, cast, overload

from tidemill.caching import CacheContext, CachePolicy
from tidemill.engine import calls, definitions, mapping
from tidemill.engine.definitions import TaskDefinition
from tidemill.engine.hooks import Hook
from tidemill.engine.retries import Delays, exponential_backoff
from tidemill.futures import TaskRunFuture, TaskRunFutureList
from tidemill.records import TaskRun
from tidemill.serializers import Serializer
from tidemill.states import State

P = ParamSpec("P")
Q = ParamSpec("Q")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
Item = TypeVar("Item")
MYPY = False

RetryCondition = Callable[["Task[..., Any]", TaskRun, State[Any]], Any]


class TaskOptions(TypedDict, total=False):
    """What `@task` and `Task.with_options` take. Times are seconds.

    Attributes:
        name: what the task is called; default: its function's name.
        description: default: the function's docstring.
        version: any text that tells versions of the task apart.
        tags: labels of its runs.
        task_run_name: a template over the parameters (`"load {table}"`), or a function without arguments that gives the name.
        retries: how often a failed run is tried again; default: the setting `task_default_retries` (0).
        retry_delay_seconds: seconds before each retry: one number, a list, or a function from the number of retries to a list
            (see `exponential_backoff`).
        retry_jitter_factor: how far a delay may vary, as a fraction of itself.
        retry_condition_fn: called with the task, its run and the failed state; a false answer means no retry.
        timeout_seconds: after how long a run is stopped; it is then `Failed`, named `TimedOut`.
        log_prints: whether `print` goes to the run's log; default: as in the flow.
        isolation: "process" executes the function in a child process, which a time limit or a cancellation ends for certain,
            also inside C code; default: in this process.
        persist_result: False: results are not kept, so that a resumed run executes the task again; default: they are kept.
        result_storage: a folder, or a URL that fsspec opens (`s3://bucket/folder`), for the results; default: small ones in the
            database, larger ones in the folder of the setting `results_storage_path`.
        result_serializer: `"pickle"`, `"json"`, `"compressed/pickle"`, `"compressed/json"`, or an object with `name`, `dumps`
            and `loads`; default: JSON where it gives the value back exactly, else pickle.
        result_storage_key: how a result's file is called: a template (`"report-{parameters[day]}.json"`), or a function without
            arguments.
        cache_policy: when the result of an earlier call may be used again, such as `INPUTS` or `INPUTS + TASK_SOURCE` (see
            `tidemill.caching`); default: never.
        cache_key_fn: a function of a `CacheContext` and the arguments by name that gives a key; wins over `cache_policy`.
        cache_expiration: for how long a result may be used again: a timedelta, or seconds.
        refresh_cache: execute the task also where there is a result, and keep the new one.
        cache_result_in_memory: whether a future holds its value; if False it reads the kept result each time.
        on_running, on_completion, on_failure, on_crashed, on_cancellation: functions called with the task, its run and
            the state when a run reaches that state.
    """

    name: str | None
    description: str | None
    version: str | None
    tags: Iterable[str] | None
    task_run_name: str | Callable[[], str] | None
    retries: int | None
    retry_delay_seconds: Delays | None
    retry_jitter_factor: float | None
    retry_condition_fn: RetryCondition | None
    timeout_seconds: float | None
    log_prints: bool | None
    isolation: Literal["process"] | None
    persist_result: bool | None
    result_storage: str | PathLike[str] | None
    result_serializer: str | Serializer | None
    result_storage_key: str | Callable[[], str] | None
    cache_policy: CachePolicy | None
    cache_key_fn: Callable[[CacheContext, dict[str, Any]], str | None] | None
    cache_expiration: timedelta | float | None
    refresh_cache: bool | None
    cache_result_in_memory: bool
    on_running: Iterable[Hook] | None
    on_completion: Iterable[Hook] | None
    on_failure: Iterable[Hook] | None
    on_crashed: Iterable[Hook] | None
    on_cancellation: Iterable[Hook] | None


class Task(TaskDefinition, Generic[P, R_co]):
    """A function whose calls are recorded as task runs. Made by `@task`.

    Attributes:
        fn: the function itself; calling it records nothing.
    """

    option_names = frozenset(TaskOptions.__annotations__)
    fn: Callable[P, R_co]

    def __init__(self, fn: Callable[P, R_co], **options: Unpack[TaskOptions]) -> None:
        super().__init__(fn, dict(options))

    # The type system has no way to say that a function takes one argument more than another. Both checkers read these
    # declarations as they are meant, and are told not to mind them.
    @overload
    def __call__(  # pyright: ignore[reportGeneralTypeIssues, reportOverlappingOverload]
        self: Task[P, AsyncGenerator[T, Any]],
        /,
        *args: P.args,
        return_state: Literal[True],  # type: ignore[valid-type]
        **kwargs: P.kwargs,
    ) -> Coroutine[Any, Any, State[list[T]]]: ...

    @overload
    def __call__(  # pyright: ignore[reportGeneralTypeIssues, reportOverlappingOverload]
        self: Task[P, Generator[T, Any, Any]],
        /,
        *args: P.args,
        return_state: Literal[True],  # type: ignore[valid-type]
        **kwargs: P.kwargs,
    ) -> State[list[T]]: ...

    @overload
    def __call__(  # pyright: ignore[reportGeneralTypeIssues, reportOverlappingOverload]
        self: Task[P, Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        return_state: Literal[True],  # type: ignore[valid-type]
        **kwargs: P.kwargs,
    ) -> Coroutine[Any, Any, State[T]]: ...

    @overload
    def __call__(  # pyright: ignore[reportGeneralTypeIssues]
        self: Task[P, T],
        /,
        *args: P.args,
        return_state: Literal[True],  # type: ignore[valid-type]
        **kwargs: P.kwargs,
    ) -> State[T]: ...

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def __call__(self, /, *args: Any, return_state: bool = False, wait_for: Iterable[Any] | None = None, **kwargs: Any) -> Any:
        """Executes the function as a task run, and returns its value or raises its exception.

        Args:
            return_state: give the run's final `State` instead; then nothing is raised for a run that failed.
            wait_for: futures that are to be done first.
        """
        return calls.call_task(self, args, kwargs, return_state, wait_for)

    @overload
    def submit(  # pyright: ignore[reportOverlappingOverload]
        self: Task[P, Generator[T, Any, Any]],
        *args: Any,
        return_state: Literal[True],
        wait_for: Iterable[Any] | None = None,
        **kwargs: Any,
    ) -> State[list[T]]: ...

    @overload
    def submit(  # pyright: ignore[reportOverlappingOverload]
        self: Task[P, Coroutine[Any, Any, T]],
        *args: Any,
        return_state: Literal[True],
        wait_for: Iterable[Any] | None = None,
        **kwargs: Any,
    ) -> State[T]: ...

    @overload
    def submit(
        self: Task[P, T], *args: Any, return_state: Literal[True], wait_for: Iterable[Any] | None = None, **kwargs: Any
    ) -> State[T]: ...

    @overload
    def submit(
        self: Task[P, AsyncGenerator[T, Any]], *args: Any, wait_for: Iterable[Any] | None = None, **kwargs: Any
    ) -> TaskRunFuture[list[T]]: ...

    @overload
    def submit(
        self: Task[P, Generator[T, Any, Any]], *args: Any, wait_for: Iterable[Any] | None = None, **kwargs: Any
    ) -> TaskRunFuture[list[T]]: ...

    @overload
    def submit(
        self: Task[P, Coroutine[Any, Any, T]], *args: Any, wait_for: Iterable[Any] | None = None, **kwargs: Any
    ) -> TaskRunFuture[T]: ...

    @overload
    def submit(self: Task[P, T], *args: Any, wait_for: Iterable[Any] | None = None, **kwargs: Any) -> TaskRunFuture[T]: ...

    def submit(self, *args: Any, return_state: bool = False, wait_for: Iterable[Any] | None = None, **kwargs: Any) -> Any:
        """Submits a call to the task runner of the flow, and returns at once with a future.

        Arguments may be futures, alone or inside lists, tuples, sets, dicts and dataclasses: the call then starts when they
        are done, with their values in their places. If one of them has failed it never starts, and ends as `NotReady`.

        Args:
            return_state: wait, and give the final `State` instead of a future.
            wait_for: futures that are to be done first, although they give no argument.
        """
        return calls.submit_task(self, args, kwargs, return_state, wait_for)

    @overload
    def map(  # pyright: ignore[reportOverlappingOverload]
        self: Task[P, Coroutine[Any, Any, T]], *args: Any, wait_for: Iterable[Any] | None = None, **kwargs: Any
    ) -> TaskRunFutureList[T]: ...

    @overload
    def map(self: Task[P, T], *args: Any, wait_for: Iterable[Any] | None = None, **kwargs: Any) -> TaskRunFutureList[T]: ...

    def map(self, *args: Any, wait_for: Iterable[Any] | None = None, **kwargs: Any) -> Any:
        """Submits one call for each member of the arguments, which are iterated over together; gives the list of futures.

        Texts, bytes, and what is wrapped in `unmapped(...)` are the same for every call. The iterables may be generators, and
        are consumed as the calls are made: some thousands ahead of those that have ended, so that a map over a hundred thousand
        takes little memory.

        Args:
            wait_for: futures that are to be done before any of the calls.

        Raises:
            DefinitionError: no argument can be iterated over, or their lengths differ.
        """
        return mapping.map_task(self, args, kwargs, wait_for)

    if not MYPY:  # mypy does not tell overloads of a descriptor apart by the type of `self`

        @overload
        def __get__(self: Task[Concatenate[type[Item], Q], T], instance: Item | None, owner: type[Item]) -> Task[Q, T]: ...

    @overload
    def __get__(self, instance: None, owner: type) -> Task[P, R_co]: ...

    @overload
    def __get__(self: Task[Concatenate[Item, Q], T], instance: Item, owner: type) -> Task[Q, T]: ...

    if not MYPY:

        @overload
        def __get__(self, instance: object, owner: type) -> Task[P, R_co]: ...

    def __get__(self, instance: Any, owner: Any) -> Any:
        return self.bound_to(instance, owner)

    def with_options(self, **options: Unpack[TaskOptions]) -> Task[P, R_co]:
        """A task like this one, with some options changed."""
        return cast("Task[P, R_co]", self.changed(dict(options)))


class TaskDecorator(Protocol):
    """What `@task(...)` with options gives."""

    def __call__(self, fn: Callable[P, R_co], /) -> Task[P, R_co]: ...


@overload
def task(fn: Callable[P, R_co], /) -> Task[P, R_co]: ...


@overload
def task(**options: Unpack[TaskOptions]) -> TaskDecorator: ...


def task(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Makes a function a task: its calls, in a flow or outside, are recorded as task runs.

    Used with or without options (see `TaskOptions`):

        @task
        def add_one(x): return x + 1

        @task(retries=3, retry_delay_seconds=exponential_backoff(2))
        def fetch(url): ...

    Raises:
        TypeError: there is no such option.
        DefinitionError: an option or a parameter of the function cannot be as it is.
    """
    definitions.check_options("task", Task.option_names, options)
    if fn is not None:
        return definitions.register(Task(fn, **options))

    def decorate(fn: Callable[..., Any]) -> Any:
        return definitions.register(Task(fn, **options))

    return decorate


__all__ = ["Task", "TaskOptions", "exponential_backoff", "task"]
