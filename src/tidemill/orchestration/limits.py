"""Slots of limits: who gets them, who has to wait and for how long, and how they are given back.

Each function runs inside its caller's transaction; times are microseconds, durations seconds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from tidemill import ids
from tidemill.side_records import TAG_PREFIX, LeaseHolder, LimitInShort
from tidemill.store import limits
from tidemill.store.limits import LimitFacts
from tidemill.store.rows import Execute

# Slots that come back bit by bit are fractions, and their sums not exact.
_TOLERANCE = 1e-6
_SHORTEST_WAIT = 0.1
_LONGEST_WAIT = 10.0
# A lease of limits that are not there holds nothing, so it is not kept; by its end it is known. Clients renew it all the same.
_OF_NOTHING = "000000000000"


class Granted(NamedTuple):
    """The limits whose slots were taken; names without a limit have none here. `lease_id` is to be renewed, and given back."""

    limits: list[LimitInShort]
    lease_id: str | None = None


class Denied(NamedTuple):
    """Why no slot was taken, of any limit. `retry_after` is when to ask again, in seconds; None: there is no use in that."""

    reason: str
    retry_after: float | None = None


class LeaseTerms(NamedTuple):
    """For how long slots are held if the lease is not renewed, and by whom."""

    seconds: float
    holder: LeaseHolder | None = None


def take_slots(
    execute: Execute, names: Sequence[str], slots: int, now: int, *, terms: LeaseTerms | None = None, at_a_rate: bool = False
) -> Granted | Denied:
    """Takes slots of all these limits, or of none.

    Args:
        names: of limits; those that are not there, or not active, limit nothing.
        terms: to hold the slots under a lease; without, they are taken until they are given back.
        at_a_rate: nobody gives the slots back, they come back at the limit's own rate.
    """
    found = limits.facts(execute, names, now)
    concerned = [each for each in found if each.active]
    refused = _impossible(concerned, slots, at_a_rate) or _full(execute, concerned, slots)
    if refused is not None:
        return refused
    granted = [_in_short(each, each.name) for each in found]
    lease_id = None if terms is None else _lease_id(concerned, at_a_rate)
    for each in concerned:
        if terms is None or lease_id is None or at_a_rate:
            limits.set_taken(execute, each, each.taken + slots)
        else:
            limits.hold(execute, each, lease_id, slots, terms.holder, now, now + int(terms.seconds * 1_000_000))
        if each.denied_slots:
            limits.set_denied(execute, each, each.denied_slots // 2)
    return Granted(granted, lease_id)


def give_slots_back(
    execute: Execute, names: Sequence[str], slots: int, now: int, occupancy_seconds: float | None = None
) -> list[LimitInShort]:
    """Gives back slots that were taken without a lease; never more than are taken.

    Args:
        occupancy_seconds: for how long they were held.
    """
    found = limits.facts(execute, names, now)
    for each in found:
        if each.active:
            limits.set_taken(execute, each, each.taken - slots)
        if occupancy_seconds is not None:
            limits.note_occupancy(execute, each, occupancy_seconds)
    return [_in_short(each, each.name) for each in found]


def renew_lease(execute: Execute, lease_id: str, seconds: float, now: int) -> bool:
    """Lets a lease hold its slots for so many seconds from now; False if it has expired or was ended."""
    if _is_of_nothing(lease_id):
        return True
    limits.facts_of_lease(execute, lease_id, now)
    return limits.extend(execute, lease_id, now, now + int(seconds * 1_000_000))


def release_lease(execute: Execute, lease_id: str, now: int) -> None:
    """Gives back what a lease holds; nothing, if it has expired or was ended."""
    limits.release(execute, limits.facts_of_lease(execute, lease_id, now), lease_id, now)


def take_tag_slots(execute: Execute, tags: Sequence[str], task_run_id: str, now: int) -> Granted | Denied:
    """Lets a task run have a slot of each of its tags' limits until it gives them back, or of none. Those that it has already
    are not taken twice."""
    found = limits.facts(execute, [TAG_PREFIX + tag for tag in tags], now)
    has = limits.holds(execute, task_run_id)
    concerned = [each for each in found if each.active and each.id not in has]
    for each in concerned:
        if each.slots == 0:
            return Denied(f"The limit on tag {_tag(each)!r} is 0: no task run with it can run, until the limit is raised.")
    full = _full(execute, concerned, 1)
    if full is not None:
        return full
    for each in concerned:
        limits.hold(execute, each, task_run_id, 1, LeaseHolder(type="task_run", id=task_run_id), now)
    return Granted([_in_short(each, _tag(each)) for each in found])


def give_tag_slots_back(execute: Execute, tags: Sequence[str], task_run_id: str, now: int) -> list[LimitInShort]:
    """Gives back what a task run has of the limits on these tags."""
    found = limits.facts(execute, [TAG_PREFIX + tag for tag in tags], now)
    limits.release(execute, found, task_run_id, now)
    return [_in_short(each, _tag(each)) for each in found]


def reset_tag(execute: Execute, tag: str, task_run_ids: Sequence[str], now: int) -> bool:
    """Takes every slot of the limit on a tag from whoever has it, and gives one to each of these task runs, also if that is
    more than the limit; False if there is no such limit."""
    found = limits.facts(execute, [TAG_PREFIX + tag], now)
    for each in found:
        limits.end_leases(execute, each)
        limits.set_taken(execute, each, 0)
        for task_run_id in dict.fromkeys(task_run_ids):
            limits.hold(execute, each, task_run_id, 1, LeaseHolder(type="task_run", id=task_run_id), now)
    return bool(found)


def _impossible(concerned: Sequence[LimitFacts], slots: int, at_a_rate: bool) -> Denied | None:
    """Why no waiting helps."""
    for each in concerned:
        if slots > each.slots:
            return Denied(f"Limit {each.name!r} has {each.slots} slots, so that {slots} can never be taken at once. Raise it.")
        if at_a_rate and each.slot_decay_per_second == 0:
            return Denied(
                f"Slots of limit {each.name!r} do not come back by themselves, so that it cannot limit a rate. Give it a "
                "slot_decay_per_second."
            )
    return None


def _full(execute: Execute, concerned: Sequence[LimitFacts], slots: int) -> Denied | None:
    full = [each for each in concerned if each.in_use + slots > each.slots + _TOLERANCE]
    if not full:
        return None
    for each in full:
        limits.set_denied(execute, each, min(each.denied_slots + slots, 2**31 - 1))
    names = ", ".join(repr(each.name) for each in full)
    return Denied(f"All slots are taken: {names}.", max(_wait(each, slots) for each in full))


def _wait(limit: LimitFacts, slots: int) -> float:
    """Seconds until slots are likely to be free, longer the more others wait for them, and not the same for all."""
    if limit.slot_decay_per_second and limit.taken:
        seconds = (limit.in_use + slots - limit.slots) / limit.slot_decay_per_second
    else:  # who has one has had it for some time already
        seconds = limit.occupancy_seconds / 2
    crowd = max(limit.denied_slots / limit.slots, 1.0)
    return min(max(seconds * crowd * random.uniform(0.75, 1.25), _SHORTEST_WAIT), _LONGEST_WAIT)


def _lease_id(concerned: Sequence[LimitFacts], at_a_rate: bool) -> str:
    holds_something = bool(concerned) and not at_a_rate
    return ids.new_id() if holds_something else ids.new_id()[: -len(_OF_NOTHING)] + _OF_NOTHING


def _is_of_nothing(lease_id: str) -> bool:
    return lease_id.endswith(_OF_NOTHING)


def _tag(limit: LimitFacts) -> str:
    return limit.name.removeprefix(TAG_PREFIX)


def _in_short(limit: LimitFacts, name: str) -> LimitInShort:
    return LimitInShort(id=limit.limit_id, name=name, limit=limit.slots)
