"""What a server keeps of itself: tokens, how its loops fare; and what it does to leases and events."""

from typing import Any

import pytest

from tidemill import clock, ids
from tidemill.event_filters import Event
from tidemill.orchestration import processes
from tidemill.orchestration.grace import grant_grace
from tidemill.store import events, leases, loops, tokens
from tidemill.store.loops import LoopHealth
from tidemill.store.tokens import Token

DAY = 24 * 3600 * 1_000_000


def token(name: str = "laptop", **more: Any) -> Token:
    return Token(**{"id": ids.new_id(), "name": name, "role": "viewer", "created": clock.to_datetime(clock.now()), **more})


def insert(desk: Any, token: Token, hash: bytes) -> bool:
    with desk.store.transaction() as execute:
        return tokens.insert(execute, token, hash)


def test_a_token_is_found_by_its_hash(desk: Any) -> None:
    mine = token(expires=clock.to_datetime(clock.now() + DAY))
    assert not tokens.any_recorded(desk.fetch)
    assert insert(desk, mine, b"h" * 32)
    assert tokens.any_recorded(desk.fetch)
    assert tokens.of_hash(desk.fetch, b"h" * 32) == (mine, b"h" * 32)
    assert tokens.of_hash(desk.fetch, b"x" * 32) is None
    assert tokens.all_tokens(desk.fetch) == [mine]


def test_a_name_belongs_to_one_token(desk: Any) -> None:
    assert insert(desk, token(), b"h" * 32)
    assert not insert(desk, token(), b"i" * 32)


def test_a_token_is_used_revoked_and_deleted(desk: Any) -> None:
    mine, now = token(), clock.now()
    insert(desk, mine, b"h" * 32)
    with desk.store.transaction() as execute:
        tokens.note_used(execute, mine.id, now)
        assert tokens.revoke(execute, "laptop", now + 1)
        assert tokens.revoke(execute, "laptop", now + 2)
        assert not tokens.revoke(execute, "nobody's", now)
    (found,) = tokens.all_tokens(desk.fetch)
    assert (found.last_used, found.revoked) == (clock.to_datetime(now), clock.to_datetime(now + 1))
    assert not found.is_valid(now)
    with desk.store.transaction() as execute:
        assert tokens.delete(execute, "laptop")
        assert not tokens.delete(execute, "laptop")
    assert not tokens.any_recorded(desk.fetch)


@pytest.mark.parametrize(("expires", "valid"), [(None, True), (1, True), (0, False), (-1, False)])
def test_how_long_a_token_is_valid(expires: int | None, valid: bool) -> None:
    now = clock.now()
    mine = token(expires=None if expires is None else clock.to_datetime(now + expires))
    assert mine.is_valid(now) is valid


def test_how_loops_fare_is_recorded_over_what_was(desk: Any) -> None:
    started = clock.to_datetime(clock.now())
    first = LoopHealth(name="lost-runs", server="a:1", interval_seconds=5.0, started=started)
    other = LoopHealth(name="late-runs", server="a:1", interval_seconds=10.0, started=started)
    later = LoopHealth(
        name="lost-runs",
        server="b:2",
        interval_seconds=5.0,
        started=started,
        last_tick=started,
        last_seconds=0.25,
        ticks=7,
        failures=1,
        last_error="OSError: no",
    )
    with desk.store.transaction() as execute:
        loops.record(execute, [first, other])
    with desk.store.transaction() as execute:
        loops.record(execute, [later])
    assert loops.all_loops(desk.fetch) == [other, later]


def test_processes_elsewhere_are_given_time(desk: Any) -> None:
    now = clock.now()
    elsewhere, here = desk.another_lease(), processes.new_lease(1, 5)
    far = processes.new_lease(1, 3600)
    far.boot_id = "elsewhere"
    with desk.store.transaction() as execute:
        for lease in (elsewhere, here, far):
            leases.ensure_lease(execute, lease)
    assert grant_grace(desk.store, now, 30) == 1
    deadlines = {lease.id: lease.deadline for lease in leases.all_leases(desk.fetch)}
    assert deadlines == {elsewhere.id: now + 30_000_000, here.id: here.deadline, far.id: far.deadline}


def test_old_events_go_some_at_a_time(desk: Any) -> None:
    now = clock.now()
    told = [
        Event(id=ids.new_id(), occurred=clock.to_datetime(now - age * DAY), event="x", resource={"prefect.resource.id": "y"})
        for age in (9, 8, 10, 6, 0)
    ]
    with desk.store.transaction() as execute:
        events.insert(execute, told, now)
    removed: list[int] = []
    for _ in range(3):
        with desk.store.transaction() as execute:
            removed.append(events.delete_old(execute, now - 7 * DAY, 2))
    assert removed == [2, 1, 0]
    assert desk.rows("event", "id") == sorted((ids.to_bytes(event.id),) for event in told[3:])
