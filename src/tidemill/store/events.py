"""What others told that happened: kept once each, in the order in which it came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tidemill import clock
from tidemill.event_filters import RESOURCE_ID, Event
from tidemill.ids import to_bytes

Execute = Callable[[str, Sequence[Any]], Any]

_encode = msgspec.json.Encoder().encode
_INSERT = (
    "INSERT INTO event (id, occurred, received, name, resource_id, document) VALUES (?,?,?,?,?,?) ON CONFLICT (id) DO NOTHING"
)


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
