"""`@flow`: a function whose calls are flow runs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from os import PathLike
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, cast, overload

from tidemill.engine import calls, definitions
from tidemill.engine.definitions import FlowDefinition
from tidemill.engine.hooks import Hook
from tidemill.engine.retries import Delays
from tidemill.runners.base import TaskRunner
from tidemill.serializers import Serializer
from tidemill.states import State

P = ParamSpec("P")
Q = ParamSpec("Q")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
Item = TypeVar("Item")
MYPY = False


class FlowOptions(TypedDict, total=False):
    """What `@flow` and `Flow.with_options` take. Times are seconds.

    Attributes:
        name: what the flow is called; default: its function's name with dashes for underscores.
        description: default: the function's docstring.
        version: default: the md5 of the source file.
        tags: labels of its runs and of their subflows' runs.
        flow_run_name: a template over the parameters (`"report-{day}"`), or a function without arguments that gives the name.
        task_runner: where submitted tasks execute, such as `ThreadPoolTaskRunner(max_workers=8)`; default: as in the flow
            around, or threads.
        idempotency_key: a text, or a template over the parameters (`"report-{day}"`), that stands for one run: a call with the
            key of a run that has completed gives the result of that; of one that ended otherwise, or whose process died,
            continues it; of one that another process works on, raises FlowRunIsLive.
        retries: how often a failed run is tried again; default: the setting `flow_default_retries` (0). What its tasks have
            finished is not executed again.
        retry_delay_seconds: seconds before each retry: one number, a list, or a function from the number of retries to a list.
        timeout_seconds: after how long a run is stopped; it is then `Failed`, named `TimedOut`.
        validate_parameters: whether parameters are checked and coerced against the annotations (default True).
        log_prints: whether `print` goes to the run's log; default: as in the flow around, or the setting `log_prints`.
        isolation: "process" executes the function in a child process, which a time limit or a cancellation ends for certain,
            also inside C code; default: in this process.
        persist_result, result_storage, result_serializer: as for a task; for the flow's own result, and for its tasks that do
            not say otherwise.
        result_storage_key: how the file of the flow's own result is called.
        on_running, on_completion, on_failure, on_crashed, on_cancellation: functions called with the flow, its run and
            the state when a run reaches that state.
    """

    name: str | None
    description: str | None
    version: str | None
    tags: Iterable[str] | None
    flow_run_name: str | Callable[[], str] | None
    task_runner: TaskRunner | type[TaskRunner] | None
    idempotency_key: str | None
    retries: int | None
    retry_delay_seconds: Delays | None
    timeout_seconds: float | None
    validate_parameters: bool
    log_prints: bool | None
    isolation: Literal["process"] | None
    persist_result: bool | None
    result_storage: str | PathLike[str] | None
    result_serializer: str | Serializer | None
    result_storage_key: str | Callable[[], str] | None
    on_running: Iterable[Hook] | None
    on_completion: Iterable[Hook] | None
    on_failure: Iterable[Hook] | None
    on_crashed: Iterable[Hook] | None
    on_cancellation: Iterable[Hook] | None


class Flow(FlowDefinition, Generic[P, R_co]):
    """A function whose calls are recorded as flow runs. Made by `@flow`.

    Attributes:
        fn: the function itself; calling it records nothing.
    """

    option_names = frozenset(FlowOptions.__annotations__)
    fn: Callable[P, R_co]

    def __init__(self, fn: Callable[P, R_co], **options: Unpack[FlowOptions]) -> None:
        super().__init__(fn, dict(options))

    # The type system has no way to say that a function takes one argument more than another. Both checkers read these
    # declarations as they are meant, and are told not to mind them.
    @overload
    def __call__(  # pyright: ignore[reportGeneralTypeIssues, reportOverlappingOverload]
        self: Flow[P, Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        return_state: Literal[True],  # type: ignore[valid-type]
        **kwargs: P.kwargs,
    ) -> Coroutine[Any, Any, State[T]]: ...

    @overload
    def __call__(  # pyright: ignore[reportGeneralTypeIssues]
        self: Flow[P, T],
        /,
        *args: P.args,
        return_state: Literal[True],  # type: ignore[valid-type]
        **kwargs: P.kwargs,
    ) -> State[T]: ...

    @overload
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def __call__(self, /, *args: Any, return_state: bool = False, wait_for: Iterable[Any] | None = None, **kwargs: Any) -> Any:
        """Executes the function as a flow run, and returns its value or raises its exception.

        A flow that returns None is judged by its task runs and subflow runs, and gives the list of their states.

        Args:
            return_state: give the run's final `State` instead; then nothing is raised for a run that failed.
            wait_for: futures that are to be done first.
        """
        return calls.call_flow(self, args, kwargs, return_state, wait_for)

    if not MYPY:  # mypy does not tell overloads of a descriptor apart by the type of `self`

        @overload
        def __get__(self: Flow[Concatenate[type[Item], Q], T], instance: Item | None, owner: type[Item]) -> Flow[Q, T]: ...

    @overload
    def __get__(self, instance: None, owner: type) -> Flow[P, R_co]: ...

    @overload
    def __get__(self: Flow[Concatenate[Item, Q], T], instance: Item, owner: type) -> Flow[Q, T]: ...

    if not MYPY:

        @overload
        def __get__(self, instance: object, owner: type) -> Flow[P, R_co]: ...

    def __get__(self, instance: Any, owner: Any) -> Any:
        return self.bound_to(instance, owner)

    def with_options(self, **options: Unpack[FlowOptions]) -> Flow[P, R_co]:
        """A flow like this one, with some options changed."""
        return cast("Flow[P, R_co]", self.changed(dict(options)))


class FlowDecorator(Protocol):
    """What `@flow(...)` with options gives."""

    def __call__(self, fn: Callable[P, R_co], /) -> Flow[P, R_co]: ...


@overload
def flow(fn: Callable[P, R_co], /) -> Flow[P, R_co]: ...


@overload
def flow(**options: Unpack[FlowOptions]) -> FlowDecorator: ...


def flow(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Makes a function a flow: its calls are recorded as flow runs.

    Used with or without options (see `FlowOptions`):

        @flow
        def nightly(): ...

        @flow(name="report", retries=1, timeout_seconds=600)
        def make_report(day: date): ...

    Raises:
        TypeError: there is no such option.
        DefinitionError: an option or a parameter of the function cannot be as it is.
    """
    definitions.check_options("flow", Flow.option_names, options)
    if fn is not None:
        return definitions.register(Flow(fn, **options))

    def decorate(fn: Callable[..., Any]) -> Any:
        return definitions.register(Flow(fn, **options))

    return decorate


__all__ = ["Flow", "FlowOptions", "flow"]
