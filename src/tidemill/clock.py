"""The only clock. Times are whole microseconds since the epoch, UTC; `datetime` appears where people read them."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_shift = 0


def now() -> int:
    """The time, in microseconds since the epoch (UTC)."""
    return time.time_ns() // 1000 + _shift


def to_datetime(microseconds: int) -> datetime:
    """A time as an aware UTC `datetime`, exact to the microsecond."""
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)  # a double is exact to the microsecond until 2242


def from_datetime(when: datetime) -> int:
    """An aware `datetime` in microseconds since the epoch; a naive one counts as local time."""
    return (when.astimezone(UTC) - _EPOCH) // _MICROSECOND


@contextmanager
def travel(seconds: float) -> Generator[None]:
    """Moves the clock of this process by `seconds` (back if negative) for the length of a `with` block; for tests."""
    global _shift
    before = _shift
    _shift = before + int(seconds * 1_000_000)
    try:
        yield
    finally:
        _shift = before
