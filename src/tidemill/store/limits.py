"""Limits on concurrency, and who holds slots of them. Each function reads, or runs inside its caller's transaction.

Slots are held under a lease until that is given back or expires, or are just taken, and come back when they are given back
or at the limit's own rate. Where writers do not queue, who changes slots has locked the rows of their limits first, in the
order of the ids: `facts` does, and `facts_of_lease`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from tidemill import clock, ids
from tidemill.filters import FIRST_PAGE, Page
from tidemill.side_records import (
    TAG_PREFIX,
    ConcurrencyLimit,
    ConcurrencyLimitChange,
    LeaseHolder,
    NewConcurrencyLimit,
    TagLimit,
)
from tidemill.store import rows
from tidemill.store.filtering import Condition
from tidemill.store.rows import Execute, Fetch

# For slots that nobody has to renew.
NEVER = 2**62

_COLUMNS = (
    "concurrency_limit.id, name, concurrency_limit.slots, active, taken, taken_at, slot_decay_per_second, denied_slots, "
    "avg_slot_occupancy_seconds, concurrency_limit.created, updated, "
    "(SELECT CAST(coalesce(sum(lease.slots), 0) AS BIGINT) FROM concurrency_lease AS lease "
    "WHERE lease.limit_id = concurrency_limit.id AND lease.expires > ?)"
)
_FACTS = "id, name, slots, active, taken, taken_at, slot_decay_per_second, denied_slots, avg_slot_occupancy_seconds"
# How much the newest occupancy counts in the average.
_NEWEST = 0.5
_encode = msgspec.json.Encoder().encode
_decode_holder = msgspec.json.Decoder(LeaseHolder).decode


class LimitFacts(NamedTuple):
    """What is asked before slots are given out. `taken` is as of `as_of`: when that was asked for, or when somebody took slots
    last, if that person's clock is ahead."""

    id: bytes
    name: str
    slots: int
    active: bool
    taken: float
    as_of: int
    leased: int
    slot_decay_per_second: float
    denied_slots: int
    occupancy_seconds: float

    @property
    def limit_id(self) -> str:
        return ids.from_bytes(self.id)

    @property
    def in_use(self) -> float:
        """Slots that nobody else can have; parts of one are on their way back."""
        return self.taken + self.leased


def of_id(limit_id: str) -> Condition:
    """The limit of this id."""
    return Condition("concurrency_limit.id = ?", (ids.to_bytes(limit_id),))


def of_name(name: str) -> Condition:
    """The limit of this name."""
    return Condition("concurrency_limit.name = ?", (name,))


def create(execute: Execute, new: NewConcurrencyLimit, now: int) -> ConcurrencyLimit | None:
    """Creates a limit at the time `now` (microseconds); None if there is one of its name."""
    made = execute(
        "INSERT INTO concurrency_limit (id, name, slots, active, taken, taken_at, slot_decay_per_second, denied_slots, "
        "created, updated) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING RETURNING 1",
        (
            ids.to_bytes(ids.new_id()),
            new.name,
            new.limit,
            int(new.active),
            float(new.active_slots),
            now,
            float(new.slot_decay_per_second),
            new.denied_slots,
            now,
            now,
        ),
    ).fetchall()
    return limit(fetching(execute), of_name(new.name), now) if made else None


def limit(fetch: Fetch, which: Condition, now: int) -> ConcurrencyLimit | None:
    """The limit `of_id` or `of_name`, as it is at the time `now`."""
    found = fetch(f"SELECT {_COLUMNS} FROM concurrency_limit WHERE {which.sql}", (now, *which.bindings))
    return _to_limit(found[0], now) if found else None


def limits(fetch: Fetch, now: int, page: Page = FIRST_PAGE) -> list[ConcurrencyLimit]:
    """All of them, by name."""
    return [_to_limit(row, now) for row in _page(fetch, Condition("TRUE"), now, page)]


def change(execute: Execute, which: Condition, changed: ConcurrencyLimitChange, now: int) -> bool:
    """Changes a limit; False if there is none. The new name must be free (`is_taken`).

    Fewer active slots than leases hold end those leases.
    """
    found = _facts(execute, which, now)
    if not found:
        return False
    before = found[0]
    columns: dict[str, Any] = {"updated": now, "taken": before.taken, "taken_at": before.as_of}
    if changed.active_slots is not None:
        kept = before.leased if changed.active_slots >= before.leased else 0
        if not kept:
            end_leases(execute, before)
        columns["taken"] = float(changed.active_slots - kept)
    named = {
        "name": changed.name,
        "slots": changed.limit,
        "active": None if changed.active is None else int(changed.active),
        "denied_slots": changed.denied_slots,
        "slot_decay_per_second": changed.slot_decay_per_second,
    }
    columns.update((column, value) for column, value in named.items() if value is not None)
    return rows.change(execute, "concurrency_limit", columns, which)


def is_taken(execute: Execute, name: str, which: Condition) -> bool:
    """Whether another limit has this name."""
    sql = f"SELECT 1 FROM concurrency_limit WHERE name = ? AND NOT ({which.sql})"
    return bool(execute(sql, (name, *which.bindings)).fetchall())


def delete(execute: Execute, which: Condition) -> bool:
    """Removes a limit and ends its leases; False if there is none."""
    return rows.delete(execute, "concurrency_limit", which)


# Of tags


def keep_tag_limit(execute: Execute, tag: str, slots: int, now: int) -> tuple[TagLimit, bool]:
    """Limits the task runs with a tag, in place of the limit there is; says whether there was none."""
    new = ids.to_bytes(ids.new_id())
    found = execute(
        "INSERT INTO concurrency_limit (id, name, slots, taken_at, created, updated) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET slots = excluded.slots, updated = excluded.updated RETURNING id",
        (new, TAG_PREFIX + tag, slots, now, now, now),
    ).fetchall()[0][0]
    kept = tag_limit(fetching(execute), Condition("concurrency_limit.id = ?", (found,)), now)
    assert kept is not None
    return kept, found == new


def tag_limit(fetch: Fetch, which: Condition, now: int) -> TagLimit | None:
    """The limit on a tag, `of_id` or `of_name`."""
    condition = Condition(f"{which.sql} AND substr(name, 1, {len(TAG_PREFIX)}) = ?", (*which.bindings, TAG_PREFIX))
    found = _page(fetch, condition, now, Page(1))
    return _to_tag_limits(fetch, found, now)[0] if found else None


def tag_limits(fetch: Fetch, now: int, page: Page = FIRST_PAGE) -> list[TagLimit]:
    """The limits on tags, by tag."""
    condition = Condition(f"substr(name, 1, {len(TAG_PREFIX)}) = ?", (TAG_PREFIX,))
    return _to_tag_limits(fetch, _page(fetch, condition, now, page), now)


# Slots


def facts(execute: Execute, names: Sequence[str], now: int) -> list[LimitFacts]:
    """What is known of the limits of these names at the time `now`, as far as they are there. Until the transaction ends,
    nobody else changes their slots; leases of them that have expired are ended."""
    marks = ",".join("?" * len(names))
    return _facts(execute, Condition(f"name IN ({marks})", tuple(names)), now)


def facts_of_lease(execute: Execute, lease_id: str, now: int) -> list[LimitFacts]:
    """The same of the limits that a lease holds slots of."""
    sql = "id IN (SELECT limit_id FROM concurrency_lease WHERE concurrency_lease.id = ?)"
    return _facts(execute, Condition(sql, (ids.to_bytes(lease_id),)), now)


def hold(
    execute: Execute, of: LimitFacts, lease_id: str, slots: int, holder: LeaseHolder | None, now: int, expires: int = NEVER
) -> None:
    """Notes that a lease holds slots of a limit until the time `expires`."""
    execute(
        "INSERT INTO concurrency_lease (id, limit_id, slots, holder, created, expires) VALUES (?, ?, ?, ?, ?, ?)",
        (ids.to_bytes(lease_id), of.id, slots, None if holder is None else _encode(holder).decode(), now, expires),
    )


def holds(execute: Execute, lease_id: str) -> set[bytes]:
    """The ids of the limits that a lease holds slots of."""
    found = execute("SELECT limit_id FROM concurrency_lease WHERE id = ?", (ids.to_bytes(lease_id),))
    return {row[0] for row in found.fetchall()}


def extend(execute: Execute, lease_id: str, now: int, expires: int) -> bool:
    """Lets a lease expire at another time; False if it has expired or is not there."""
    sql = "UPDATE concurrency_lease SET expires = ? WHERE id = ? AND expires > ? RETURNING 1"
    return bool(execute(sql, (expires, ids.to_bytes(lease_id), now)).fetchall())


def release(execute: Execute, of: Sequence[LimitFacts], lease_id: str, now: int) -> None:
    """Ends what a lease holds of these limits, and notes for how long it did."""
    lease = ids.to_bytes(lease_id)
    for facts in of:
        sql = "DELETE FROM concurrency_lease WHERE id = ? AND limit_id = ? RETURNING created"
        for row in execute(sql, (lease, facts.id)).fetchall():
            note_occupancy(execute, facts, max(now - row[0], 0) / 1_000_000)


def end_leases(execute: Execute, of: LimitFacts) -> None:
    """Ends every lease of a limit."""
    execute("DELETE FROM concurrency_lease WHERE limit_id = ?", (of.id,))


def set_taken(execute: Execute, of: LimitFacts, taken: float) -> None:
    """Notes how many slots are taken beside those that leases hold."""
    execute("UPDATE concurrency_limit SET taken = ?, taken_at = ? WHERE id = ?", (float(max(taken, 0)), of.as_of, of.id))


def set_denied(execute: Execute, of: LimitFacts, denied: int) -> None:
    """Notes how many slots were asked for in vain."""
    execute("UPDATE concurrency_limit SET denied_slots = ? WHERE id = ?", (denied, of.id))


def note_occupancy(execute: Execute, of: LimitFacts, seconds: float) -> None:
    """Notes for how long a slot was held: the average tells others when it is worth to ask again."""
    average = (1 - _NEWEST) * of.occupancy_seconds + _NEWEST * seconds
    execute("UPDATE concurrency_limit SET avg_slot_occupancy_seconds = ? WHERE id = ?", (average, of.id))


def free_expired(execute: Execute, now: int) -> int:
    """Ends the leases that have expired at the time `now` (microseconds); gives how many slots that frees.

    Who asks for slots of a limit does not wait for this: there, they are freed at once.
    """
    sql = "SELECT DISTINCT limit_id FROM concurrency_lease WHERE expires <= ?"
    concerned = [row[0] for row in execute(sql, (now,)).fetchall()]
    return sum(_end_expired(execute, _locked(execute, Condition(f"id IN ({_marks(concerned)})", tuple(concerned))), now))


def fetching(execute: Execute) -> Fetch:
    """Reads within a transaction."""
    return lambda sql, bindings: execute(sql, bindings).fetchall()


def _facts(execute: Execute, which: Condition, now: int) -> list[LimitFacts]:
    locked = _locked(execute, which)
    _end_expired(execute, locked, now)
    limit_ids = [row[0] for row in locked]
    sql = f"SELECT limit_id, CAST(sum(slots) AS BIGINT) FROM concurrency_lease WHERE limit_id IN ({_marks(limit_ids)}) "
    leased: dict[bytes, int] = dict(execute(sql + "GROUP BY limit_id", limit_ids).fetchall()) if limit_ids else {}
    return [_to_facts(row, leased.get(row[0], 0), now) for row in locked]


def _locked(execute: Execute, which: Condition) -> list[tuple[Any, ...]]:
    sql = f"SELECT {_FACTS} FROM concurrency_limit WHERE {which.sql} ORDER BY id /*postgres: FOR UPDATE */"
    return execute(sql, which.bindings).fetchall()


def _end_expired(execute: Execute, locked: Sequence[tuple[Any, ...]], now: int) -> list[int]:
    """Ends leases of limits whose rows are locked; gives the slots of each."""
    if not locked:
        return []
    limit_ids = [row[0] for row in locked]
    sql = f"DELETE FROM concurrency_lease WHERE limit_id IN ({_marks(limit_ids)}) AND expires <= ? RETURNING slots"
    return [row[0] for row in execute(sql, (*limit_ids, now)).fetchall()]


def _marks(values: Sequence[Any]) -> str:
    return ",".join("?" * len(values))


def _left(taken: float, taken_at: int, decay: float, now: int) -> float:
    """What is still taken of what was taken at `taken_at`."""
    return max(taken - decay * max(now - taken_at, 0) / 1_000_000, 0.0)


def _page(fetch: Fetch, condition: Condition, now: int, page: Page) -> list[tuple[Any, ...]]:
    # The time belongs to the first mark, which is among the columns.
    condition = Condition(condition.sql, (now, *condition.bindings))
    return rows.select(fetch, f"{_COLUMNS} FROM concurrency_limit", condition, "name", page)


def _to_facts(row: tuple[Any, ...], leased: int, now: int) -> LimitFacts:
    id, name, slots, active, taken, taken_at, decay, denied, occupancy = row
    left = _left(taken, taken_at, decay, now)
    return LimitFacts(id, name, slots, bool(active), left, max(now, taken_at), leased, decay, denied, occupancy)


def _to_limit(row: tuple[Any, ...], now: int) -> ConcurrencyLimit:
    id, name, slots, active, taken, taken_at, decay, denied, occupancy, created, updated, leased = row
    return ConcurrencyLimit(
        id=ids.from_bytes(id),
        name=name,
        limit=slots,
        active=bool(active),
        active_slots=leased + math.ceil(_left(taken, taken_at, decay, now)),
        denied_slots=denied,
        slot_decay_per_second=decay,
        avg_slot_occupancy_seconds=occupancy,
        created=clock.to_datetime(created),
        updated=clock.to_datetime(updated),
    )


def _to_tag_limits(fetch: Fetch, found: Sequence[tuple[Any, ...]], now: int) -> list[TagLimit]:
    holders: dict[bytes, list[str]] = {row[0]: [] for row in found}
    sql = (
        f"SELECT limit_id, holder FROM concurrency_lease WHERE limit_id IN ({_marks(found)}) AND expires > ? "
        "AND holder IS NOT NULL ORDER BY created, id"
    )
    for limit_id, holder in fetch(sql, (*holders, now)):
        holders[limit_id].append(_decode_holder(holder).id)
    return [
        TagLimit(
            id=ids.from_bytes(row[0]),
            tag=row[1].removeprefix(TAG_PREFIX),
            concurrency_limit=row[2],
            active_slots=list(dict.fromkeys(holders[row[0]])),
            created=clock.to_datetime(row[9]),
            updated=clock.to_datetime(row[10]),
        )
        for row in found
    ]
