"""The background loops of the server that leads: what others may know of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from tidemill import clock

Execute = Callable[[str, Sequence[Any]], Any]
Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

_COLUMNS = "name, server, interval_seconds, started, last_tick, last_seconds, ticks, failures, last_error"
_UPDATES = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS.split(", ")[1:])


class LoopHealth(msgspec.Struct, kw_only=True):
    """How a loop fares, in the process `server` (host and process id). `last_tick` is when its last tick ended, which had
    taken `last_seconds`; `last_error` is what made the last tick fail, None if it did not."""

    name: str
    server: str
    interval_seconds: float
    started: datetime
    last_tick: datetime | None = None
    last_seconds: float | None = None
    ticks: int = 0
    failures: int = 0
    last_error: str | None = None


def record(execute: Execute, loops: Iterable[LoopHealth]) -> None:
    """Writes how these loops fare, in the place of what was known of them."""
    sql = f"INSERT INTO loop ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT (name) DO UPDATE SET {_UPDATES}"
    for loop in loops:
        values = (
            loop.name,
            loop.server,
            loop.interval_seconds,
            clock.from_datetime(loop.started),
            loop.last_tick and clock.from_datetime(loop.last_tick),
            loop.last_seconds,
            loop.ticks,
            loop.failures,
            loop.last_error,
        )
        execute(sql, values)


def all_loops(fetch: Fetch) -> list[LoopHealth]:
    """Every loop that was ever run, by name, as its last leader left it."""
    return [_to_health(row) for row in fetch(f"SELECT {_COLUMNS} FROM loop ORDER BY name", ())]


def _to_health(row: tuple[Any, ...]) -> LoopHealth:
    name, server, interval, started, last_tick, last_seconds, ticks, failures, last_error = row
    return LoopHealth(
        name=name,
        server=server,
        interval_seconds=interval,
        started=clock.to_datetime(started),
        last_tick=last_tick and clock.to_datetime(last_tick),
        last_seconds=last_seconds,
        ticks=ticks,
        failures=failures,
        last_error=last_error,
    )
