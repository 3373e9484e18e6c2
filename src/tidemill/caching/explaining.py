"""Why a task run used an earlier result, or did not: one sentence or two, from what was recorded about the keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from tidemill.client.caching import KeyedRun
from tidemill.states import COMPLETED

_CACHED = "Cached"


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
    same = [other for other in earlier if other.cache_key == run.cache_key]
    if run.state_name == _CACHED:
        made = next((other for other in same if other.state_name != _CACHED), None)
        if made is None:
            return "It hit: a result was kept under its key. The run that made it is no longer recorded here."
        return f"It hit: {_shown(made)} has the same key, and its result was used."
    if run.refreshed:
        return "It was executed because refresh_cache is set; an earlier result was not looked for."
    return "It missed: " + (_why_not(run, same[0]) if same else _closest(run, earlier))


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


def _closest(run: KeyedRun, earlier: Sequence[KeyedRun]) -> str:
    keyed = [other for other in earlier if other.ingredients]
    if not keyed or not run.ingredients:
        return "no earlier run has its key."
    closest = min(keyed, key=lambda other: len(differing(run.ingredients, other.ingredients)))
    names = differing(run.ingredients, closest.ingredients)
    if not names:
        return "no earlier run has its key."
    return (
        f"no earlier run has its key. The closest, {_shown(closest)}, differs in {_listed([_words(name) for name in names])}."
    )


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The ingredients that two keys do not have in common, in order."""
    return [name for name in dict.fromkeys((*one, *other)) if one.get(name) != other.get(name)]


def _words(ingredient: str) -> str:
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
