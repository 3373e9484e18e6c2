"""Futures among a call's arguments: found wherever they are, and replaced by the values they stand for."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar, cast

from tidemill.colour import IO
from tidemill.futures import TaskRunFuture, TaskRunFutureList
from tidemill.states import State, ValueElsewhere

T = TypeVar("T")

WaitFor = Iterable[Any] | None


class Annotation(Generic[T]):
    """Wraps an argument to say how it is to be taken."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r})"


class unmapped(Annotation[T]):
    """In `task.map`: the same value for every call, although it could be iterated over."""

    __slots__ = ()


class allow_failure(Annotation[T]):
    """Lets a task start although what this argument comes from has failed; it then gets the exception as value."""

    __slots__ = ()


class quote(Annotation[T]):
    """Passes a value as it is: no futures are looked for inside."""

    __slots__ = ()


class Upstream(NamedTuple):
    """A task run that another one waits for."""

    future: TaskRunFuture[Any]
    may_fail: bool


_MOST_NAMED = 3
_ATOMS = frozenset({int, str, float, bool, bytes, type(None)})


def upstream_of(values: Iterable[Any]) -> list[Upstream]:
    """The futures in some arguments, each once."""
    found: dict[int, Upstream] = {}
    pending: list[tuple[Any, bool]] = [(value, False) for value in values if type(value) not in _ATOMS]
    seen: set[int] = set()
    while pending:
        value, may_fail = pending.pop()
        if type(value) in _ATOMS:
            continue
        if isinstance(value, TaskRunFuture):
            future = cast("TaskRunFuture[Any]", value)
            known = found.get(id(future))
            found[id(future)] = Upstream(future, may_fail and (known is None or known.may_fail))
            continue
        key: int = id(value)  # pyright: ignore[reportUnknownArgumentType]
        members, excused = _members(value)
        if members and key not in seen:
            seen.add(key)
            pending += [(member, may_fail or excused) for member in members]
    return list(found.values())


def may_hold_futures(args: Iterable[Any], kwargs: dict[str, Any]) -> bool:
    """Whether it is worth looking for futures: most calls have numbers and texts only."""
    for value in args:
        if type(value) not in _ATOMS:
            return True
    return any(type(value) not in _ATOMS for value in kwargs.values())


class Inputs:
    """The arguments of one call, with the futures in them.

    Args:
        wait_for: futures that give no argument, but are to be done first.
    """

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: WaitFor) -> None:
        self.args = args
        self.kwargs = kwargs
        values = (*args, *kwargs.values())
        self.waited_for = upstream_of(_listed(wait_for)) if wait_for is not None else []
        self.upstream = [*upstream_of(values), *self.waited_for]
        self.need_resolving = bool(self.upstream) or any(map(_has_annotation, values))

    async def arrive(self, io: IO) -> list[TaskRunFuture[Any]]:
        """Waits for the futures, and puts their values in their places; or, where some that may not have failed, gives
        those."""
        for one in self.upstream:
            await io.until(one.future)
        failed = failed_upstream(self.upstream)
        if not failed and self.need_resolving:
            self.args = tuple(resolved(value) for value in self.args)
            self.kwargs = {name: resolved(value) for name, value in self.kwargs.items()}
        return failed


def why_not_ready(failed: Sequence[TaskRunFuture[Any]]) -> tuple[str, BaseException]:
    """The message of a run that cannot start, and the exception behind it."""
    names = ", ".join(repr(future.name) for future in failed[:_MOST_NAMED])
    more = f" and {len(failed) - _MOST_NAMED} more" if len(failed) > _MOST_NAMED else ""
    cause: Any = failed[0].result(raise_on_failure=False)
    return f"Upstream task run {names}{more} did not reach a 'COMPLETED' state.", cause


def look_through(args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: WaitFor) -> Inputs | None:
    """The arguments of a call, if something may be found in them."""
    if wait_for is None and not may_hold_futures(args, kwargs):
        return None
    inputs = Inputs(args, kwargs, wait_for)
    return inputs if inputs.need_resolving or inputs.upstream else None


def _listed(wait_for: Any) -> list[Any]:
    return [wait_for] if isinstance(wait_for, TaskRunFuture) else list(wait_for)


def ids_of_futures_in(value: Any) -> list[str]:
    """The task runs whose futures are in a value."""
    return [] if type(value) in _ATOMS else [one.future.task_run_id for one in upstream_of([value])]


StandsIn = Callable[[ValueElsewhere, bool], bool]


def resolved(value: T, stands_in: StandsIn | None = None) -> T:
    """The argument with its futures, which are done, replaced by their values, and the wrappers taken off.

    What holds no future is given back as it is.

    Args:
        stands_in: says of what stands for a value in another process whether it may take the value's place: itself the
            argument, or (True) inside it.
    """
    return cast(T, _resolved(value, False, stands_in, False))


def _resolved(value: Any, allow_failure_around: bool, stands_in: StandsIn | None, inside: bool) -> Any:
    if type(value) in _ATOMS:
        return value
    if isinstance(value, TaskRunFuture):
        future = cast("TaskRunFuture[Any]", value)
        elsewhere = future.value_elsewhere
        if elsewhere is not None and stands_in is not None and stands_in(elsewhere, inside):
            return elsewhere
        return future.result(raise_on_failure=not allow_failure_around)
    if isinstance(value, quote):
        return cast("quote[Any]", value).value
    if isinstance(value, Annotation):
        inner = cast("Annotation[Any]", value).value
        return _resolved(inner, allow_failure_around or isinstance(value, allow_failure), stands_in, inside)
    if not upstream_of([value]) and not _has_annotation(value):
        return value
    return _rebuilt(value, lambda member: _resolved(member, allow_failure_around, stands_in, True))


def _rebuilt(value: Any, take: Callable[[Any], Any]) -> Any:
    """A container like this one, with other members."""
    kind: Any = type(value)  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, TaskRunFutureList):
        return [take(member) for member in cast("list[Any]", value)]
    if _is_named_tuple(kind):
        return kind(*map(take, value))
    if issubclass(kind, tuple | set | frozenset):
        return cast(Any, kind(map(take, value)))
    twin = copy.copy(value)
    if issubclass(kind, dict):
        twin.update({key: take(member) for key, member in value.items()})
    elif issubclass(kind, list):
        twin[:] = [take(member) for member in value]
    else:
        for field in dataclasses.fields(value):
            object.__setattr__(twin, field.name, take(getattr(value, field.name)))
    return twin


def _members(value: Any) -> tuple[list[Any], bool]:
    """What is to be looked at inside a value, and whether failures there are excused."""
    kind: Any = type(value)  # pyright: ignore[reportUnknownVariableType]
    if issubclass(kind, list | tuple | set | frozenset):
        return [member for member in value if type(member) not in _ATOMS], False
    if issubclass(kind, dict):
        return [member for member in value.values() if type(member) not in _ATOMS], False
    if issubclass(kind, Annotation):
        return ([] if kind is quote else [value.value]), kind is allow_failure
    if dataclasses.is_dataclass(kind):
        return [getattr(value, field.name) for field in dataclasses.fields(kind) if hasattr(value, field.name)], False
    return [], False


def _is_named_tuple(kind: Any) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")  # pyright: ignore[reportUnknownArgumentType]


def _has_annotation(value: Any) -> bool:
    pending, seen = [value], set[int]()
    while pending:
        one = pending.pop()
        if isinstance(one, Annotation):
            return True
        if id(one) not in seen:
            seen.add(id(one))
            pending += _members(one)[0]
    return False


def failed_upstream(upstream: Iterable[Upstream]) -> list[TaskRunFuture[Any]]:
    """Those that keep a task from starting."""
    return [one.future for one in upstream if not one.may_fail and not _has_value(one.future.state)]


def _has_value(state: State[Any]) -> bool:
    return state.is_completed()
