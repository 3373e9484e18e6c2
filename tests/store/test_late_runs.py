"""Scheduled runs that nobody begins are called late; and what is known of them all in numbers."""

from typing import Any

from tidemill import clock, orchestration
from tidemill.orchestration.late_runs import mark_late_runs
from tidemill.states import Completed, Pending, Running, Scheduled
from tidemill.store import reading, statistics

SECOND = 1_000_000


def scheduled(desk: Any, seconds: float, **more: Any) -> str:
    """A run that is to begin so many seconds from now."""
    when = clock.to_datetime(clock.now() + int(seconds * SECOND))
    return desk.flow_run([Scheduled(scheduled_time=when)], **more)


def state_of(desk: Any, run: str) -> Any:
    found = reading.flow_run(desk.fetch, run)
    assert found is not None
    return found.state


def test_a_run_is_late_a_while_after_it_should_have_begun(desk: Any) -> None:
    late, soon, future = scheduled(desk, -20), scheduled(desk, -5), scheduled(desk, 60)
    due = state_of(desk, late).state_details.scheduled_time
    assert mark_late_runs(desk.store, clock.now()) == [late]
    assert [state_of(desk, run).name for run in (late, soon, future)] == ["Late", "Scheduled", "Scheduled"]
    assert state_of(desk, late).state_details.scheduled_time == due
    assert mark_late_runs(desk.store, clock.now()) == []


def test_a_late_run_begins_like_any_other(desk: Any) -> None:
    run = scheduled(desk, -20)
    mark_late_runs(desk.store, clock.now())
    lease = desk.another_lease()
    orchestration.take_lease(desk.store, lease)
    assert desk.propose(run, Pending(), lease_id=lease.id, attempt=0).status == "ACCEPT"
    assert desk.propose(run, Running(), lease_id=lease.id, attempt=0).status == "ACCEPT"


def test_who_runs_or_waits_for_a_retry_is_not_late(desk: Any) -> None:
    when = clock.to_datetime(clock.now() - 60 * SECOND)
    for states in (
        [Scheduled(scheduled_time=when), Pending()],
        [Scheduled(scheduled_time=when), Pending(), Running()],
        [Scheduled(scheduled_time=when, name="AwaitingRetry")],
    ):
        desk.flow_run(states)
    assert mark_late_runs(desk.store, clock.now()) == []


def test_many_runs_are_marked_some_at_a_time(desk: Any) -> None:
    runs = {scheduled(desk, -100 - n) for n in range(502)}
    first = mark_late_runs(desk.store, clock.now())
    second = mark_late_runs(desk.store, clock.now())
    assert (len(first), len(second)) == (500, 2)
    assert {*first, *second} == runs


def test_what_is_late_is_found_among_what_is_scheduled(desk: Any) -> None:
    plan = desk.plan(
        "SELECT id, expected_start_time FROM flow_run WHERE state_type = 'SCHEDULED' AND state_name = 'Scheduled' "
        "AND +expected_start_time < ? ORDER BY +expected_start_time LIMIT ?",
        0,
        1,
    )
    assert "flow_run_by_state" in plan
    assert "flow_run_by_expected_start" not in plan


def test_the_numbers(desk: Any) -> None:
    now = clock.now()
    assert statistics.run_counts(desk.fetch, now) == ({}, 0, 0, 0)
    desk.flow_run()
    desk.flow_run()
    desk.flow_run(flow_name="other")
    done = desk.flow_run()
    desk.propose(done, Completed(), lease_id=desk.lease.id, attempt=1)
    scheduled(desk, 3600)
    scheduled(desk, -3600)
    counts = statistics.run_counts(desk.fetch, now)
    assert counts.by_flow_and_state == {
        ("etl", "RUNNING"): 2,
        ("etl", "COMPLETED"): 1,
        ("etl", "SCHEDULED"): 2,
        ("other", "RUNNING"): 1,
    }
    assert (counts.late, counts.leases) == (1, 1)
    assert 3500 * SECOND < counts.lateness <= 3600 * SECOND
