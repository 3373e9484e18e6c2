"""The cache keys of task runs, and why a run used an earlier result, or did not: one sentence or two, from what was recorded
about the keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from tidemill.states import COMPLETED, StateType

_CACHED = "Cached"


class KeyedRun(msgspec.Struct, kw_only=True, frozen=True):
    """A task run as far as its cache key is concerned.

    Attributes:
        time: when it began.
        ingredients: short fingerprints of what its key was made of.
        expires: until when its result may be used again.
        refreshed: whether it was to be executed in any case.
    """

    id: str
    name: str
    time: datetime
    ended: datetime | None = None
    state_type: StateType
    state_name: str
    cache_key: str | None = None
    ingredients: dict[str, str] = {}
    expires: datetime | None = None
    refreshed: bool = False


def why_hit_or_missed(run: KeyedRun, earlier: Sequence[KeyedRun]) -> str:
    """Says why `run` hit or missed, in plain words.

    Args:
        run: the task run in question.
        earlier: the runs before it that may have had its key, newest first.
    """
    if run.cache_key is None:
        return (
            "It has no cache key, so it was executed: the task has no cache_policy, or its policy gave no key for this call. "
            "With cache_policy=INPUTS, calls with equal inputs share one result."
        )
    if has_hit(run):
        made = maker(run, earlier)
        if made is None:
            return "It hit: a result was kept under its key. The run that made it is no longer recorded here."
        return f"It hit: {_shown(made)} has the same key, and its result was used."
    if run.refreshed:
        return "It was executed because refresh_cache is set; an earlier result was not looked for."
    same = next((other for other in earlier if other.cache_key == run.cache_key), None)
    return "It missed: " + (_why_not(run, same) if same is not None else _what_differs(run, earlier))


def has_hit(run: KeyedRun) -> bool:
    """Whether a run used an earlier result."""
    return run.cache_key is not None and run.state_name == _CACHED


def maker(run: KeyedRun, earlier: Sequence[KeyedRun]) -> KeyedRun | None:
    """The run whose result was there to be used under the same key, if it is among the earlier ones."""
    return next((other for other in earlier if other.cache_key == run.cache_key and other.state_name != _CACHED), None)


def closest(run: KeyedRun, earlier: Sequence[KeyedRun]) -> KeyedRun | None:
    """The run whose key differs from that of `run` in the fewest ingredients; None if nothing is known of any."""
    keyed = [other for other in earlier if other.ingredients]
    if not keyed or not run.ingredients:
        return None
    return min(keyed, key=lambda other: len(differing(run.ingredients, other.ingredients)))


def _why_not(run: KeyedRun, other: KeyedRun) -> str:
    """Why the result of a run with the same key was not used."""
    if other.expires is not None and other.expires <= run.time:
        return f"{_shown(other)} has the same key, but its result expired at {_at(other.expires)}."
    if other.ended is None or other.ended > run.time:
        return (
            f"{_shown(other)} has the same key and had not finished yet. With isolation_level SERIALIZABLE one would have "
            "waited for the other."
        )
    if other.state_type is not COMPLETED:
        return f"{_shown(other)} has the same key, but ended {other.state_name}, so there was no result to use."
    return f"{_shown(other)} has the same key, but its result was not there: it was not kept, or has been removed."


def _what_differs(run: KeyedRun, earlier: Sequence[KeyedRun]) -> str:
    near = closest(run, earlier)
    names = differing(run.ingredients, near.ingredients) if near is not None else []
    if near is None or not names:
        return "no earlier run has its key."
    differences = _listed([ingredient_in_words(name) for name in names])
    return f"no earlier run has its key. The closest, {_shown(near)}, differs in {differences}."


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The ingredients that two keys do not have in common, in order."""
    return [name for name in dict.fromkeys((*one, *other)) if one.get(name) != other.get(name)]


def ingredient_in_words(ingredient: str) -> str:
    """What a part of a key is, such as `input 'x'`."""
    kind, _, name = ingredient.partition(".")
    match kind, name:
        case "inputs", name:
            return f"input {name!r}"
        case "flow parameters", name:
            return f"the flow's parameter {name!r}"
        case "task source", _:
            return "the task's source"
        case "task", _:
            return "which task it is"
        case "run", _:
            return "the flow run, which RUN_ID makes part of the key"
        case _:
            return f"what {ingredient} gave"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _shown(run: KeyedRun) -> str:
    return f"run {run.name!r} of {_at(run.time)}"


def _at(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"
