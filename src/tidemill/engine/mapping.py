"""`task.map`: one call for each member of the arguments."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sized
from typing import Any, cast

from tidemill import logs
from tidemill.engine.definitions import TaskDefinition
from tidemill.engine.dependencies import Annotation, WaitFor, allow_failure, look_through, unmapped
from tidemill.engine.loading import stop_if_loading
from tidemill.engine.progress import FEWEST_CALLS, progress_of
from tidemill.engine.submissions import submissions_here
from tidemill.exceptions import DefinitionError
from tidemill.futures import TaskRunFuture, TaskRunFutureList

# So many calls of one map have not ended, at most; then the next members are not even looked at.
_WINDOW = 4096
_NO_MEMBER = object()


def map_task(task: TaskDefinition, args: tuple[Any, ...], kwargs: dict[str, Any], wait_for: WaitFor) -> TaskRunFutureList[Any]:
    """Submits the calls, and gives their futures."""
    stop_if_loading(task)
    logs.set_up()
    submissions = submissions_here()
    futures: TaskRunFutureList[Any] = TaskRunFutureList()
    behind, progress = 0, None
    arguments = _arguments(task, args, kwargs)
    try:
        for call_args, call_kwargs in _calls(task, arguments, len(args)):
            found = look_through(call_args, call_kwargs, wait_for)
            future = submissions.submit(task, task.with_receiver(call_args), call_kwargs, found)
            futures.append(future)
            if progress is not None:
                progress.follow(future)
            elif len(futures) == FEWEST_CALLS + 1:
                progress = progress_of(task.name, futures, _known_length(arguments))
            if len(futures) - behind > _WINDOW and not (task.is_async and futures[behind].runs_here):
                # Waits for the oldest: the others run meanwhile.
                futures[behind].wait()
                behind += 1
                while behind < len(futures) and futures[behind].done():
                    behind += 1
    finally:
        if progress is not None:
            progress.close()
    return futures


def _arguments(task: TaskDefinition, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[_Argument]:
    named: list[tuple[str | None, Any]] = [(None, value) for value in args]
    named += kwargs.items()
    taken = [_Argument(name, value) for name, value in named]
    if not any(one.is_mapped for one in taken):
        raise DefinitionError(
            f"{task.name}.map() has no argument to iterate over. Pass a list or another iterable; for a single call there is "
            f"{task.name}.submit()."
        )
    lengths = _lengths(taken)
    if len(lengths) > 1:
        raise DefinitionError(_unequal(task, ", ".join(map(str, sorted(lengths)))))
    return taken


def _lengths(arguments: list[_Argument]) -> set[int]:
    return {len(one.members) for one in arguments if isinstance(one.members, Sized)}


def _known_length(arguments: list[_Argument]) -> int | None:
    """How many calls there will be, where an argument knows how many members it has."""
    return next(iter(_lengths(arguments)), None)


def _calls(task: TaskDefinition, taken: list[_Argument], positional: int) -> Generator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """The arguments of each call; the first `positional` of those taken are given without a name."""
    names = [one.name or "" for one in taken[positional:]]
    while True:
        values = [one.next() for one in taken]
        ended = [value is _NO_MEMBER for one, value in zip(taken, values, strict=True) if one.is_mapped]
        if any(ended):
            if not all(ended):
                raise DefinitionError(_unequal(task, "one ended before another"))
            return
        yield tuple(values[:positional]), dict(zip(names, values[positional:], strict=True))


class _Argument:
    """One argument of a map: the same value for each call, or the next member for each."""

    def __init__(self, name: str | None, value: Any) -> None:
        self.name = name
        self.members: Iterable[Any] | None = None
        self._value = value
        self._excused = False
        if isinstance(value, unmapped):
            self._value = cast("unmapped[Any]", value).value
            return
        if isinstance(value, allow_failure):
            self._excused = True
            value = cast("allow_failure[Any]", value).value
        elif isinstance(value, Annotation):
            return
        if isinstance(value, TaskRunFuture):
            value = cast("TaskRunFuture[Any]", value).result()
        if _is_iterable(value):
            self.members = value
            self._iterator: Iterator[Any] = iter(value)

    @property
    def is_mapped(self) -> bool:
        return self.members is not None

    def next(self) -> Any:
        if self.members is None:
            return self._value
        member = next(self._iterator, _NO_MEMBER)
        return allow_failure(member) if self._excused and member is not _NO_MEMBER else member


def _is_iterable(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | bytearray)


def _unequal(task: TaskDefinition, found: str) -> str:
    return (
        f"{task.name}.map() iterates over arguments of different lengths: {found}. Make them equal, or wrap what is the same "
        "for every call in unmapped(...)."
    )
