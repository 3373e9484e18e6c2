"""Flows and tasks as the engine knows them: a function, its options, and how it is called as a method."""

from __future__ import annotations

import functools
import hashlib
import inspect
import warnings
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

import msgspec

from tidemill import settings
from tidemill.caching import CacheOptions, cache_options
from tidemill.engine import pickling
from tidemill.engine.hooks import OPTION_OF_TYPE, Hook
from tidemill.engine.names import check_name
from tidemill.engine.parameters import Signature
from tidemill.engine.retries import policy_of
from tidemill.exceptions import DefinitionError, ReservedArgumentError
from tidemill.records import RunPolicy
from tidemill.results import result_options
from tidemill.runners.base import TaskRunner
from tidemill.texts import storable

D = TypeVar("D", bound="Definition")
T = TypeVar("T")

_NO_RECEIVER = object()
_LONGEST_TIMEOUT = 10 * 365 * 86_400.0  # system timers take no more than some decades
_RESULT_OPTIONS = ("persist_result", "result_storage", "result_serializer", "result_storage_key")
_CACHE_OPTIONS = ("cache_policy", "cache_key_fn", "cache_expiration", "refresh_cache")
_RESERVED_PARAMETERS = frozenset({"return_state", "wait_for"})


class _computed_once(Generic[T]):
    """An attribute computed when it is first asked for. `functools.cached_property` has a lock until Python 3.12, in which a
    forked child can hang."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    def __get__(self, instance: Any, owner: type) -> T:
        value = self._compute(instance)
        instance.__dict__[self._name] = value
        return value


class Definition:
    """A decorated function."""

    kind: ClassVar[str]
    option_names: ClassVar[frozenset[str]]
    name: str
    policy: RunPolicy

    def __init__(self, fn: Any, options: dict[str, Any]) -> None:
        self.descriptor = fn
        self.options = options
        self.function: Callable[..., Any] = fn.__func__ if isinstance(fn, classmethod | staticmethod) else fn  # pyright: ignore[reportUnknownMemberType]
        if not callable(self.function):
            raise DefinitionError(f"@{self.kind} takes a function, not {fn!r}.")
        self.fn = self.function
        self.function_name = getattr(self.function, "__name__", type(self.function).__name__)
        self.module = getattr(self.function, "__module__", None) or "__main__"
        self.qualname = getattr(self.function, "__qualname__", self.function_name)
        self.is_async = inspect.iscoroutinefunction(self.function) or inspect.isasyncgenfunction(self.function)
        for option in ("description", "version"):
            if not isinstance(options.get(option), str | None):
                raise DefinitionError(f"{option} of a {self.kind} is a text, not {options[option]!r}.")
            elif options.get(option) is not None:
                options[option] = storable(options[option])
        self.description = options.get("description") or inspect.getdoc(self.function)
        self.tags = _tags(options.get("tags"), self.kind)
        self.timeout_seconds = _timeout(options.get("timeout_seconds"))
        self.log_prints: bool | None = options.get("log_prints")
        self.isolation: str | None = options.get("isolation")
        self.results = result_options(**{name: options.get(name) for name in _RESULT_OPTIONS})
        if self.isolation not in (None, "process"):
            raise DefinitionError(f"isolation of a {self.kind} is 'process' or None, not {self.isolation!r}.")
        self.hooks: dict[str, list[Hook]] = {
            option: self._checked_hooks(option, options.get(option)) for option in OPTION_OF_TYPE.values()
        }
        self.receiver: Any = _NO_RECEIVER
        functools.update_wrapper(self, self.function)  # type: ignore[arg-type]
        self._refuse_reserved_parameters()

    @_computed_once
    def version(self) -> str | None:
        """The version given, or for a flow the md5 of its source file."""
        given = self.options.get("version")
        if given is not None or self.kind != "flow":
            return given
        try:
            with open(inspect.getsourcefile(self.function) or "", "rb") as file:
                return hashlib.md5(file.read(), usedforsecurity=False).hexdigest()
        except (OSError, TypeError):
            return None

    @_computed_once
    def entrypoint(self) -> str | None:
        """Where the function is to be found again: `path/to/file.py:name`, or `module:name` without a file."""
        try:
            place = inspect.getsourcefile(self.function) or self.module
        except TypeError:
            place = self.module
        return f"{place}:{self.qualname}"

    @_computed_once
    def signature(self) -> Signature:
        hints = self.__dict__.pop("hints", None)
        if hints is not None:  # it came from another process, and its function is a copy of its own
            self.function.__annotations__ = hints
        return Signature(self.function, self.name, bound=self._takes_receiver())

    def bound_to(self: D, instance: Any, owner: Any) -> D:
        """What the attribute of a class or an instance gives: the definition with its first argument filled in."""
        if isinstance(self.descriptor, staticmethod):
            return self
        receiver = owner if isinstance(self.descriptor, classmethod) else instance
        if receiver is None:
            return self
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound.receiver = receiver
        bound.fn = functools.partial(self.function, receiver)
        return bound

    @property
    def retries(self) -> int:
        """How often a failed run is tried again."""
        return self.policy.retries

    @property
    def retry_delay_seconds(self) -> float | list[float]:
        """Seconds before each retry: one number for all, or one for each."""
        return self.policy.retry_delay

    @property
    def is_bound(self) -> bool:
        """Whether it is a method's, with the instance or class filled in."""
        return self.receiver is not _NO_RECEIVER

    def __reduce__(self) -> str | tuple[Any, ...]:
        return pickling.reduced(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(pickling.restored(self, state, _NO_RECEIVER))

    def __copy__(self: D) -> D:
        """Like a function, a definition is not copied."""
        return self

    def __deepcopy__(self: D, memo: object) -> D:
        return self

    def with_receiver(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The positional arguments of a call, with the instance or class of a method in front."""
        return args if self.receiver is _NO_RECEIVER else (self.receiver, *args)

    def changed(self: D, options: dict[str, Any]) -> D:
        """The same definition with some options changed."""
        check_options(self.kind, self.option_names, options)
        other = type(self)(self.descriptor, **{**self.options, **self._hooks_added(), **options})  # pyright: ignore[reportCallIssue]
        if self.receiver is not _NO_RECEIVER:
            other.receiver, other.fn = self.receiver, functools.partial(self.function, self.receiver)
        return other

    def log_prints_by_default(self) -> bool:
        return settings.current().log_prints

    def on_running(self, hook: Hook) -> Hook:
        """Decorator: calls `hook(definition, run, state)` when a run starts running."""
        return self._add_hook("on_running", hook)

    def on_completion(self, hook: Hook) -> Hook:
        """Decorator: calls `hook(definition, run, state)` when a run completes."""
        return self._add_hook("on_completion", hook)

    def on_failure(self, hook: Hook) -> Hook:
        """Decorator: calls `hook(definition, run, state)` when a run fails."""
        return self._add_hook("on_failure", hook)

    def on_crashed(self, hook: Hook) -> Hook:
        """Decorator: calls `hook(definition, run, state)` when a run crashes."""
        return self._add_hook("on_crashed", hook)

    def on_cancellation(self, hook: Hook) -> Hook:
        """Decorator: calls `hook(definition, run, state)` when a run is cancelled."""
        return self._add_hook("on_cancellation", hook)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def _name_or(self, default: str) -> str:
        """The name given, or the default; checked."""
        given = self.options.get("name")
        if given is None:
            given = "anonymous" if default == "<lambda>" else default
        return check_name(given, self.kind)

    def _add_hook(self, option: str, hook: Hook) -> Hook:
        self.hooks[option] += self._checked_hooks(option, [hook])
        return hook

    def _hooks_added(self) -> dict[str, Any]:
        return {option: list(hooks) for option, hooks in self.hooks.items() if hooks}

    def _checked_hooks(self, option: str, hooks: Any) -> list[Hook]:
        if callable(hooks):
            raise DefinitionError(f"{option} takes a list of functions: {option}=[{getattr(hooks, '__name__', hooks)}].")
        if isinstance(hooks, str) or not isinstance(hooks or (), Iterable):
            raise DefinitionError(f"{option} takes a list of functions, not {hooks!r}.")
        checked: list[Any] = list(hooks or ())
        for hook in checked:
            if not callable(hook):
                raise DefinitionError(f"{option} takes functions, and {hook!r} is none.")
            if inspect.iscoroutinefunction(hook) and not self.is_async:
                raise DefinitionError(
                    f"{option} of a plain {self.kind} takes plain functions, and {hook!r} is async: make the {self.kind} "
                    "async too, or the hook plain."
                )
        return checked

    def _takes_receiver(self) -> bool:
        """Whether the first parameter is an instance or class, which is not among the recorded parameters."""
        if isinstance(self.descriptor, staticmethod):
            return False
        if isinstance(self.descriptor, classmethod) or self.receiver is not _NO_RECEIVER:
            return True
        first = next(iter(inspect.signature(self.function).parameters), None)
        return first in ("self", "cls") and "." in self.qualname

    def _refuse_reserved_parameters(self) -> None:
        code = getattr(self.function, "__code__", None)
        if code is None:
            return
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        for name in names:
            if name in _RESERVED_PARAMETERS:
                raise ReservedArgumentError(
                    f"{self.function_name}() has a parameter {name!r}, which Tidemill uses itself when a {self.kind} is "
                    "called. Rename the parameter."
                )


class FlowDefinition(Definition):
    """A decorated function whose calls are flow runs."""

    kind = "flow"

    def __init__(self, fn: Callable[..., Any], options: dict[str, Any]) -> None:
        super().__init__(fn, options)
        self.name = self._name_or(self.function_name.replace("_", "-"))
        if inspect.isgeneratorfunction(self.function) or inspect.isasyncgenfunction(self.function):
            raise DefinitionError(f"{self.function_name}() is a generator. A flow cannot be one; make it a @task.")
        self.flow_key = f"{self.module}.{self.qualname}"
        self.flow_run_name: str | Callable[[], str] | None = options.get("flow_run_name")
        self.task_runner = _task_runner(options.get("task_runner"))
        # Of which names in which databases what it takes is recorded; the same set for all that is made of one function.
        self.schema_known: set[tuple[str, str]] = set()
        self.idempotency_key = _idempotency_key(options.get("idempotency_key"))
        self.should_validate_parameters: bool = options.get("validate_parameters", True)
        current = settings.current()
        retries, delays = options.get("retries"), options.get("retry_delay_seconds")
        self.policy = policy_of(
            current.flow_default_retries if retries is None else retries,
            current.flow_default_retry_delay_seconds if delays is None else delays,
            None,
        )

    def changed(self, options: dict[str, Any]) -> Self:
        other = super().changed(options)
        other.schema_known = self.schema_known
        return other

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.schema_known = set()

    def unknown_schema(self, database: str) -> bytes | None:
        """The JSON schema of its parameters, until it is recorded in this database (`schema_is_known`)."""
        if (database, self.name) in self.schema_known:
            return None
        return self.signature.schema(self.description)

    def schema_is_known(self, database: str) -> None:
        """Notes that what it takes is recorded in this database."""
        self.schema_known.add((database, self.name))


class TaskDefinition(Definition):
    """A decorated function whose calls are task runs."""

    kind = "task"

    def __init__(self, fn: Callable[..., Any], options: dict[str, Any]) -> None:
        super().__init__(fn, options)
        self.name = self._name_or(self.function_name)
        self.task_key = f"{self.module}.{self.qualname}"
        self.task_run_name: str | Callable[[], str] | None = options.get("task_run_name")
        self.retry_condition_fn = self._checked_condition(options.get("retry_condition_fn"))
        self.is_generator = inspect.isgeneratorfunction(self.function) or inspect.isasyncgenfunction(self.function)
        current = settings.current()
        retries, delays = options.get("retries"), options.get("retry_delay_seconds")
        self.policy = policy_of(
            current.task_default_retries if retries is None else retries,
            current.task_default_retry_delay_seconds if delays is None else delays,
            options.get("retry_jitter_factor"),
        )
        if self.is_generator and (self.policy.retries or self.timeout_seconds):
            raise DefinitionError(
                f"{self.function_name}() is a generator: what it has yielded cannot be taken back, so it takes neither retries "
                "nor timeout_seconds."
            )
        self.keeps_in_memory: bool = options.get("cache_result_in_memory", True)
        self.caching = self._checked_caching()
        self.policy_json = msgspec.json.encode(self.policy).decode() if self.policy.retries else None

    def _checked_caching(self) -> CacheOptions | None:
        given = {name: value for name in _CACHE_OPTIONS if (value := self.options.get(name)) is not None}
        if not given:
            return None
        if self.is_generator:
            raise DefinitionError(f"{self.function_name}() is a generator, whose values cannot be cached. Return a list.")
        return cache_options(**given, persist_result=self.options.get("persist_result"), function=self.function)

    def _checked_condition(self, condition: Any) -> Callable[..., Any] | None:
        if condition is None:
            return None
        if not callable(condition):
            raise DefinitionError(f"retry_condition_fn takes a function, not {condition!r}.")
        if inspect.iscoroutinefunction(condition) and not self.is_async:
            raise DefinitionError(f"retry_condition_fn of a plain task takes a plain function; {condition!r} is async.")
        return condition


def check_options(kind: str, known: frozenset[str], options: dict[str, Any]) -> None:
    """Raises TypeError for an option that does not exist, with the one that was probably meant."""
    for option in options:
        if option not in known:
            close = get_close_matches(option, known, n=1)
            meant = f" Did you mean {close[0]!r}?" if close else f" Options: {', '.join(sorted(known))}."
            raise TypeError(f"@{kind} has no option {option!r}.{meant}")


_registered: dict[tuple[str, str], tuple[str, str, str | None, int]] = {}


def register(definition: D) -> D:
    """Notes a definition by its name, and warns when another function has that name already. Defining the same function
    again, as notebook cells do, is no news."""
    code = getattr(definition.function, "__code__", None)
    file, line = (code.co_filename, code.co_firstlineno) if code is not None else (None, 0)
    key = (definition.kind, definition.name)
    mine = (definition.module, definition.qualname, file, line)
    other = _registered.get(key)
    _registered[key] = mine
    if other is not None and _is_another(other, mine):
        warnings.warn(
            f"A {definition.kind} named {definition.name!r} and defined at '{mine[2]}:{mine[3]}' conflicts with another "
            f"{definition.kind} ('{other[2]}:{other[3]}'). Consider specifying a unique `name` parameter in the "
            f"{definition.kind} definition:\n\n `@{definition.kind}(name='my_unique_name', ...)`",
            stacklevel=3,
        )
    return definition


def _is_another(one: tuple[str, str, str | None, int], other: tuple[str, str, str | None, int]) -> bool:
    if "<locals>" in one[1] or "<locals>" in other[1]:
        return False  # made by a function, and by tests, again and again
    if one[:2] != other[:2]:
        return True
    return one[2] == other[2] and one[3] != other[3]


def _task_runner(given: Any) -> TaskRunner | None:
    if isinstance(given, type) and issubclass(given, TaskRunner):
        given = given()
    if given is not None and not isinstance(given, TaskRunner):
        raise DefinitionError(f"task_runner takes a task runner, such as ThreadPoolTaskRunner(max_workers=8), not {given!r}.")
    return given


def _idempotency_key(given: Any) -> str | None:
    if given is None or (isinstance(given, str) and given):
        return given
    raise DefinitionError(f"idempotency_key takes a text that is not empty, not {given!r}.")


def _tags(tags: Any, kind: str) -> tuple[str, ...]:
    if tags is None:
        return ()
    listed = isinstance(tags, Iterable) and not isinstance(tags, str)
    names: list[Any] = list(cast("Iterable[Any]", tags)) if listed else [None]
    if not all(isinstance(name, str) for name in names):
        raise DefinitionError(f"tags of a {kind} are a list of texts, such as tags=['nightly'], not {tags!r}.")
    return tuple(dict.fromkeys(storable(name) for name in names))


def _timeout(seconds: Any) -> float | None:
    if seconds is None:
        return None
    if not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise DefinitionError(f"timeout_seconds must be a number above 0 (or None for no limit), not {seconds!r}.")
    return min(float(seconds), _LONGEST_TIMEOUT)
