"""Where a task's inputs come from: which earlier task run gave a value, and how to recognise the inputs later."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, cast

import msgspec

from tidemill.engine.dependencies import Annotation, ids_of_futures_in
from tidemill.exceptions import SerializationError
from tidemill.fingerprints import fingerprint, fingerprint_of_atoms, is_atom
from tidemill.states import State

_encode = msgspec.json.Encoder().encode

# Values of which Python keeps one copy for everybody say nothing about where they come from.
_SHARED_TYPES = frozenset({bool, type(None), type(NotImplemented), type(Ellipsis), type})
# Small values are recognised by what they are, not by the run that gave them.
_LARGEST_ATOM = 1024
_MOST_MEMBERS = 100
_FIRST_SWEEP = 64
# What `sys.getrefcount` answers for an object that only the table of tracked results holds: the tuple there, the name in
# the sweep, and the call's own argument.
_REFERENCES_OF_THE_UNUSED = 3


class TrackedResults:
    """Which run gave which object, by identity, for one attempt of a flow run.

    Objects that take weak references are watched through one; others are held, and let go once nobody else does.
    """

    def __init__(self) -> None:
        self._held: dict[int, tuple[Any, str]] = {}
        self._watched: dict[int, tuple[weakref.ref[Any], str]] = {}
        self._sweep_at = _FIRST_SWEEP

    def add(self, value: Any, run_id: str) -> None:
        """Notes that `run_id` gave `value`, and the members of a short container."""
        if _says_nothing(value):
            return
        self._add_one(value, run_id)
        for member in _members(value):
            self._add_one(member, run_id)

    def source_of(self, value: Any) -> str | None:
        """The run that gave this very object."""
        key = id(value)
        held = self._held.get(key)
        if held is not None:
            return held[1]
        watched = self._watched.get(key)
        return watched[1] if watched is not None and watched[0]() is value else None

    def surely_knows_nothing_of(self, value: Any) -> bool:
        """Whether it is a number or text that no run gave: true of most arguments, and quickly told."""
        return is_atom(value) and id(value) not in self._held

    def sources_in(self, value: Any) -> list[str]:
        """The runs that gave an argument or, for a short container, what it is made of."""
        if is_atom(value):
            source = self._held.get(id(value))
            return [] if source is None or _says_nothing(value) else [source[1]]
        found: dict[str, None] = {}
        pending: list[Any] = [value]
        looked_at: set[int] = set()
        while pending and len(looked_at) < _MOST_MEMBERS:
            one = pending.pop()
            if id(one) in looked_at:
                continue
            looked_at.add(id(one))
            run_id = self._run_of(one)
            if run_id is not None:
                found[run_id] = None
            else:
                pending.extend(_members(one))
        return list(found)

    def _run_of(self, value: Any) -> str | None:
        if isinstance(value, State):
            return cast("State[Any]", value).state_details.task_run_id
        return self.source_of(value)

    def _add_one(self, value: Any, run_id: str) -> None:
        if _says_nothing(value):
            return
        try:
            self._watched[id(value)] = (weakref.ref(value), run_id)
        except TypeError:
            self._held[id(value)] = (value, run_id)
        if len(self._held) + len(self._watched) >= self._sweep_at:
            self._sweep()

    def _sweep(self) -> None:
        for key, (value, _) in list(self._held.items()):
            if sys.getrefcount(value) <= _REFERENCES_OF_THE_UNUSED:
                self._held.pop(key, None)
        for key, (reference, _) in list(self._watched.items()):
            if reference() is None:
                self._watched.pop(key, None)
        self._sweep_at = max(_FIRST_SWEEP, 2 * (len(self._held) + len(self._watched)))


def task_inputs(
    parameters: dict[str, Any], tracked: TrackedResults, parent_task_run: str | None, waited_for: Sequence[str] = ()
) -> str:
    """The JSON of a task run's `task_inputs`: for each parameter, the runs whose results it is made of.

    Args:
        parameters: as they were given, so with futures.
        parent_task_run: the task run that made the call.
        waited_for: the task runs that were to be done first, although they give no parameter.
    """
    if parent_task_run is None and not waited_for and all(map(tracked.surely_knows_nothing_of, parameters.values())):
        return _no_inputs(tuple(parameters))
    sources: dict[str, Iterable[str]] = {name: _sources_of(value, tracked) for name, value in parameters.items()}
    if waited_for:
        sources["wait_for"] = waited_for
    if parent_task_run is not None:
        sources["__parents__"] = [parent_task_run]
    inputs = {name: [{"input_type": "task_run", "id": run_id} for run_id in run_ids] for name, run_ids in sources.items()}
    return _encode(inputs).decode()


def _sources_of(value: Any, tracked: TrackedResults) -> Iterable[str]:
    return dict.fromkeys((*tracked.sources_in(value), *ids_of_futures_in(value)))


@lru_cache(maxsize=1024)
def _no_inputs(names: tuple[str, ...]) -> str:
    return _encode({name: [] for name in names}).decode()


# How the hash of a call begins that is not told from every other call of the task by its inputs.
ONLY_AT_ITS_POSITION = "~"
NEVER_AGAIN = "?"


def input_hash(parameters: dict[str, Any], tracked: TrackedResults, receiver: Any = None) -> str:
    """Tells the inputs of one call from those of another, also in a later process.

    A small value is identified by itself, a larger one that another run gave by that run. An object that cannot be serialized
    is identified by its type and by what can be serialized in it: such a call is recognised only at its position. One that
    takes an iterator, which says nothing of what it will give, is never recognised.

    Args:
        receiver: the instance or class, if the task is a method.
    """
    if receiver is None and all(_is_small_atom(value) for value in parameters.values()):
        return fingerprint_of_atoms(parameters)
    inputs = parameters if receiver is None else {**parameters, "": receiver}
    identities = {name: _identity(value, tracked) for name, value in inputs.items()}
    marks = {kind for kind, _ in identities.values()}
    mark = next((mark for mark in (NEVER_AGAIN, ONLY_AT_ITS_POSITION) if mark in marks), "")
    return mark + fingerprint({name: identity for name, (_, identity) in identities.items()})


def _identity(value: Any, tracked: TrackedResults) -> tuple[str, Any]:
    """How well a value is identified, and by what."""
    if _is_small_atom(value):
        return "", value
    source = tracked.source_of(value)
    if source is not None:
        return "", ("result of", source)
    if hasattr(value, "__next__") or hasattr(value, "__anext__"):
        return NEVER_AGAIN, "an iterator"
    try:
        return "", ("value", fingerprint(value))
    except (SerializationError, RecursionError):
        return ONLY_AT_ITS_POSITION, _what_is_known_of(value)


def _what_is_known_of(value: Any) -> tuple[str, ...]:
    kind: Any = type(value)  # pyright: ignore[reportUnknownVariableType]
    known = [f"{kind.__module__}.{kind.__qualname__}"]
    attributes: dict[str, Any] = getattr(value, "__dict__", {})
    for name, attribute in sorted(attributes.items()):
        try:
            known.append(f"{name} {fingerprint(attribute)}")
        except (SerializationError, RecursionError):
            known.append(f"{name} {type(attribute).__qualname__}")
    return tuple(known)


def _is_small_atom(value: Any) -> bool:
    return is_atom(value) and sys.getsizeof(value) <= _LARGEST_ATOM


def _says_nothing(value: Any) -> bool:
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    return kind in _SHARED_TYPES or (kind is int and -5 <= value <= 256) or (kind in (str, bytes) and len(value) < 2)


def _members(value: Any) -> Iterator[Any]:
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind in (list, tuple, set):
        members = cast("list[Any]", value)
    elif kind is dict:
        members = cast("dict[Any, Any]", value).values()
    elif isinstance(value, Annotation):
        members = (cast("Annotation[Any]", value).value,)
    else:
        return iter(())
    return iter(members) if len(members) <= _MOST_MEMBERS else iter(())


NOTHING_TRACKED = TrackedResults()
