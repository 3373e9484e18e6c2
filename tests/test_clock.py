"""The one clock: whole microseconds, UTC, and a way for tests to move it."""

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tidemill import clock
from tidemill.states import Completed

MOMENTS = {
    0: datetime(1970, 1, 1, tzinfo=UTC),
    1: datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    -1: datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    1_714_564_800_123_457: datetime(2024, 5, 1, 12, 0, 0, 123_457, tzinfo=UTC),
    8_589_934_591_999_999: datetime(2242, 3, 16, 12, 56, 31, 999_999, tzinfo=UTC),
}


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is New York's for one test."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_now_is_the_systems_time_in_whole_microseconds() -> None:
    before = time.time_ns() // 1000
    now = clock.now()
    assert isinstance(now, int)
    assert before <= now <= time.time_ns() // 1000


@pytest.mark.parametrize(("microseconds", "moment"), MOMENTS.items())
def test_a_time_is_an_exact_datetime_and_back(microseconds: int, moment: datetime) -> None:
    assert clock.to_datetime(microseconds) == moment
    assert clock.to_datetime(microseconds).tzinfo is UTC
    assert clock.from_datetime(moment) == microseconds


def test_no_microsecond_of_the_next_two_centuries_is_lost() -> None:
    source = random.Random(1)
    times = [source.randrange(8_589_934_592_000_000) for _ in range(5_000)]
    assert [clock.from_datetime(clock.to_datetime(time)) for time in times] == times


def test_a_datetime_of_another_zone_is_the_same_moment() -> None:
    kolkata = timezone(timedelta(hours=5, minutes=30))
    assert clock.from_datetime(datetime(1970, 1, 1, 5, 30, tzinfo=kolkata)) == 0


@pytest.mark.usefixtures("new_york")
def test_a_naive_datetime_counts_as_local_time() -> None:
    assert clock.from_datetime(datetime(2024, 5, 1, 8)) == clock.from_datetime(datetime(2024, 5, 1, 12, tzinfo=UTC))
    assert clock.from_datetime(datetime(2024, 1, 1, 7)) == clock.from_datetime(datetime(2024, 1, 1, 12, tzinfo=UTC))


@pytest.mark.parametrize("seconds", [3600, -3600, 0.000_001, 86_400 * 365 * 100])
def test_travel_moves_the_clock_for_a_block(seconds: float) -> None:
    before = clock.now()
    with clock.travel(seconds):
        moved = clock.now()
    after = clock.now()
    assert before + seconds * 1_000_000 <= moved <= after + seconds * 1_000_000


def test_travels_add_up_and_end_one_by_one() -> None:
    with clock.travel(-1000):
        with clock.travel(100):
            inner = clock.now()
        outer = clock.now()
    assert inner - outer == pytest.approx(100_000_000, abs=5_000_000)
    assert clock.now() - outer == pytest.approx(1_000_000_000, abs=5_000_000)


def test_a_travel_that_raises_ends_too() -> None:
    with pytest.raises(ValueError, match="on the way"), clock.travel(3600):
        raise ValueError("on the way")
    assert clock.now() // 1000 == pytest.approx(time.time_ns() // 1_000_000, abs=5_000)


def test_what_is_made_during_a_travel_has_its_time() -> None:
    with clock.travel(-86_400 * 365):
        state = Completed()
    assert datetime.now(UTC) - state.timestamp > timedelta(days=364)
