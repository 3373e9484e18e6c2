"""Everything that happened, by time: what others told, and what became of flow runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from heapq import merge
from itertools import islice
from typing import Any

from tidemill.event_filters import Event, EventFilter, EventOrder, matches
from tidemill.store import events, state_events
from tidemill.store.events import Cursor, cursor

Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

_ROWS_AT_ONCE = 250
# Whoever asks for little of much gets it in several pages, each after so many events looked at.
_MOST_LOOKED_AT = 20_000
_MOST_COUNTED = 20_000


def page(fetch: Fetch, filter: EventFilter, limit: int, start: Cursor | None = None) -> tuple[list[Event], Cursor | None]:
    """The next events that the filter asks for, and where the rest begins; None for that if there is no more.

    Args:
        start: goes on after this one.
        limit: how many at most.
    """
    found: list[Event] = []
    last: Event | None = None
    for looked_at, event in enumerate(_all(fetch, filter, start)):
        if last is not None and (len(found) == limit or looked_at == _MOST_LOOKED_AT):
            return found, cursor(last)
        last = event
        if matches(filter, event):
            found.append(event)
    return found, None


def count(fetch: Fetch, filter: EventFilter) -> int:
    """How many there are; of many, where each must be looked at, only how many are among the first of them."""
    if filter.related is None and filter.any_resource is None and filter.text is None and _is_plain(filter):
        return events.count(fetch, filter) + state_events.count(fetch, filter)
    return sum(matches(filter, event) for event in islice(_all(fetch, filter, None), _MOST_COUNTED))


def _is_plain(filter: EventFilter) -> bool:
    return filter.resource is None or (filter.resource.id_prefix is None and filter.resource.labels is None)


def _all(fetch: Fetch, filter: EventFilter, start: Cursor | None) -> Generator[Event]:
    both = [_read_on(fetch, source.by_time, filter, start) for source in (events, state_events)]
    yield from merge(*both, key=cursor, reverse=filter.order is EventOrder.DESC)


def _read_on(
    fetch: Fetch,
    read: Callable[[Fetch, EventFilter, Cursor | None, int], list[Event]],
    filter: EventFilter,
    start: Cursor | None,
) -> Generator[Event]:
    while True:
        rows = read(fetch, filter, start, _ROWS_AT_ONCE)
        yield from rows
        if len(rows) < _ROWS_AT_ONCE:
            return
        start = cursor(rows[-1])
