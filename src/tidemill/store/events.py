"""What others told that happened: kept once each, in the order in which it came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tidemill import clock
from tidemill.event_filters import RESOURCE_ID, Event, EventFilter, EventOrder
from tidemill.ids import to_bytes
from tidemill.store.filtering import Condition

Execute = Callable[[str, Sequence[Any]], Any]
Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

# Where a reader of events by time is: the time (microseconds) and the id of the last it has seen.
Cursor = tuple[int, str]

_INSERT = (
    "INSERT INTO event (id, occurred, received, name, resource_id, document) VALUES (?,?,?,?,?,?) ON CONFLICT (id) DO NOTHING"
)
# No transaction that is still open can come before these.
_SETTLED = "TRUE /*postgres: AND seq < settled() */"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Event).decode


def insert(execute: Execute, events: Sequence[Event], now: int) -> None:
    """Keeps events that are not kept yet, as received at the time `now` (microseconds)."""
    for event in events:
        event.received = clock.to_datetime(now)
        execute(
            _INSERT,
            (
                to_bytes(event.id),
                clock.from_datetime(event.occurred),
                now,
                event.event,
                event.resource[RESOURCE_ID],
                _encode(event).decode(),
            ),
        )


def latest(fetch: Fetch) -> int:
    """The number of the event that came last; 0 if there is none."""
    return fetch(f"SELECT coalesce(max(seq), 0) FROM event WHERE {_SETTLED}", ())[0][0]


def after(fetch: Fetch, seq: int, limit: int) -> tuple[list[Event], int]:
    """The next events that came after number `seq`, at most `limit`, and the number of the last of them."""
    sql = f"SELECT seq, document FROM event WHERE seq > ? AND {_SETTLED} ORDER BY seq LIMIT ?"
    rows = fetch(sql, (seq, limit))
    return [_decode(row[1]) for row in rows], rows[-1][0] if rows else seq


def delete_old(execute: Execute, before: int, limit: int) -> int:
    """Removes events that occurred before that time (microseconds), the oldest first, at most `limit`; gives how many."""
    oldest = "SELECT seq FROM event WHERE occurred < ? ORDER BY occurred LIMIT ?"
    return len(execute(f"DELETE FROM event WHERE seq IN ({oldest}) RETURNING 1", (before, limit)).fetchall())


def by_time(fetch: Fetch, filter: EventFilter, start: Cursor | None, limit: int) -> list[Event]:
    """The next kept events that the filter may ask for, in its order: it still has to be asked of each.

    Args:
        start: goes on after this one.
        limit: how many at most; if there are fewer, there are no more.
    """
    condition = _condition(filter)
    place, order = keyset(filter.order, "occurred", "id", start)
    sql = f"SELECT document FROM event WHERE {condition.sql} AND {place.sql} ORDER BY {order} LIMIT ?"
    return [_decode(row[0]) for row in fetch(sql, (*condition.bindings, *place.bindings, limit))]


def count(fetch: Fetch, filter: EventFilter) -> int:
    """How many kept events the filter may ask for."""
    condition = _condition(filter)
    return fetch(f"SELECT count(*) FROM event WHERE {condition.sql}", condition.bindings)[0][0]


def cursor(event: Event) -> Cursor:
    """Where a reader is who has seen this event last."""
    return clock.from_datetime(event.occurred), event.id


def keyset(order: EventOrder, time: str, identifier: str, start: Cursor | None) -> tuple[Condition, str]:
    """The condition for what comes after `start`, and the order, by two columns."""
    down = order is EventOrder.DESC
    ordering = f"{time} DESC, {identifier} DESC" if down else f"{time}, {identifier}"
    if start is None:
        return Condition("TRUE"), ordering
    return Condition(f"({time}, {identifier}) {'<' if down else '>'} (?, ?)", (start[0], to_bytes(start[1]))), ordering


def span(filter: EventFilter, time: str) -> list[Condition]:
    """The conditions for the time at which it happened."""
    conditions: list[Condition] = []
    if filter.occurred is not None and filter.occurred.since is not None:
        conditions.append(Condition(f"{time} >= ?", (clock.from_datetime(filter.occurred.since),)))
    if filter.occurred is not None and filter.occurred.until is not None:
        conditions.append(Condition(f"{time} <= ?", (clock.from_datetime(filter.occurred.until),)))
    return conditions


def named(filter: EventFilter, name: str) -> list[Condition]:
    """The conditions for what happened; `name` is the column or expression that says it."""
    names = filter.event
    if names is None:
        return []
    starts = [Condition(f"substr({name}, 1, {len(prefix)}) = ?", (prefix,)) for prefix in names.prefix or ()]
    wanted = [*starts, *(Condition(f"{name} = ?", (value,)) for value in names.name or ())]
    unwanted = [
        *(Condition(f"{name} <> ?", (value,)) for value in names.exclude_name or ()),
        *(Condition(f"substr({name}, 1, {len(prefix)}) <> ?", (prefix,)) for prefix in names.exclude_prefix or ()),
    ]
    return [joined(" OR ", wanted), *unwanted] if wanted else unwanted


def joined(word: str, conditions: Sequence[Condition]) -> Condition:
    """One condition of many; true if there are none."""
    if not conditions:
        return Condition("TRUE")
    sql = word.join(condition.sql for condition in conditions)
    return Condition(f"({sql})", tuple(value for condition in conditions for value in condition.bindings))


def _condition(filter: EventFilter) -> Condition:
    conditions = [*span(filter, "occurred"), *named(filter, "name")]
    if filter.id is not None and filter.id.id:
        marks = ",".join("?" * len(filter.id.id))
        conditions.append(Condition(f"id IN ({marks})", tuple(to_bytes(identifier) for identifier in filter.id.id)))
    if filter.resource is not None and filter.resource.id:
        marks = ",".join("?" * len(filter.resource.id))
        conditions.append(Condition(f"resource_id IN ({marks})", tuple(filter.resource.id)))
    return joined(" AND ", conditions)
