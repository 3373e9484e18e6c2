"""What each attempt of a flow run executed and reused, on every kind of database."""

import pytest

from tidemill import clock, ids, orchestration
from tidemill.records import RunPolicy
from tidemill.states import COMPLETED, FAILED, PENDING, RUNNING, AwaitingRetry, Completed, Failed, Paused, Running, Scheduled
from tidemill.store import attempts


def through(entry, *types):
    """Takes a task run through states of now."""
    for type in types:
        entry.progress = entry.progress.then(type, None, None, clock.now())
    return entry


@pytest.fixture
def entry(desk):
    """A task run that is made now."""

    def make(run, key, attempt=1):
        now = clock.now()
        made = desk.entry(run, key, attempt=attempt, created=now)
        made.progress = made.progress.__class__(PENDING, "Pending", (("PENDING", None, None, now),))
        return made

    return make


def told(desk, run):
    return [(one.attempt, one.name, one.executed, one.reused, one.counts) for one in attempts.attempts(desk.fetch, run)]


def test_a_run_that_has_not_begun_has_none(desk):
    assert attempts.attempts(desk.fetch, ids.new_id()) == []
    assert attempts.attempts(desk.fetch, desk.flow_run([Scheduled()])) == []


def test_one_attempt(desk, entry):
    run = desk.flow_run()
    cached = entry(run, 3)
    cached.progress = cached.progress.then(COMPLETED, "Cached", None, clock.now())
    desk.record([through(entry(run, 0), RUNNING, COMPLETED), through(entry(run, 1), RUNNING), entry(run, 2), cached])
    assert told(desk, run) == [(1, "Running", 2, 0, {"COMPLETED": 1, "RUNNING": 1})]
    (going,) = attempts.attempts(desk.fetch, run)
    assert going.ended_ms is None
    desk.propose(run, Failed(message="no"))
    (ended,) = attempts.attempts(desk.fetch, run)
    assert (ended.type, ended.message, ended.ended_ms >= ended.began_ms == going.began_ms) == ("FAILED", "no", True)


def test_a_second_attempt_executes_only_what_had_not_completed(desk, entry):
    run = desk.flow_run(policy=RunPolicy(retries=1))
    done, again = through(entry(run, 0), RUNNING, COMPLETED), through(entry(run, 1), RUNNING, FAILED)
    never_again = through(entry(run, 2), RUNNING, FAILED)
    desk.record([done, again, never_again])
    desk.propose(run, Failed(message="no"))
    desk.propose(run, Running(), lease_id=desk.lease.id)
    again.attempt = 2
    desk.record([through(again, PENDING, RUNNING, COMPLETED), through(entry(run, 3, attempt=2), RUNNING, COMPLETED)])
    desk.propose(run, Completed())
    assert told(desk, run) == [
        (1, "AwaitingRetry", 3, 0, {"COMPLETED": 1, "FAILED": 2}),
        (2, "Completed", 2, 1, {"COMPLETED": 2}),
    ]
    first, second = attempts.attempts(desk.fetch, run)
    assert first.began_ms < first.ended_ms < second.began_ms < second.ended_ms


def test_what_was_taken_up_but_did_not_run_was_not_executed(desk, entry):
    run = desk.flow_run(policy=RunPolicy(retries=1))
    stopped = through(entry(run, 0), RUNNING, FAILED)
    desk.record([stopped])
    desk.propose(run, Failed())
    desk.propose(run, Running(), lease_id=desk.lease.id)
    stopped.attempt = 2
    desk.record([through(stopped, PENDING)])
    assert [one[2:] for one in told(desk, run)] == [(1, 0, {"FAILED": 1}), (0, 0, {})]


def test_to_go_on_after_a_pause_is_no_new_attempt(desk, entry):
    run = desk.flow_run()
    desk.record([through(entry(run, 0), RUNNING, COMPLETED)])
    desk.propose(run, Paused())
    desk.propose(run, Scheduled())
    (paused,) = attempts.attempts(desk.fetch, run)
    assert (paused.name, paused.ended_ms) == ("Scheduled", None)
    desk.propose(run, Running(), lease_id=desk.lease.id)
    assert [(one[0], *one[2:]) for one in told(desk, run)] == [(1, 1, 0, {"COMPLETED": 1})]


def test_what_happens_after_the_end_belongs_to_no_attempt(desk):
    run = desk.flow_run()
    desk.propose(run, Failed(message="no"))
    desk.propose(run, AwaitingRetry())
    assert [one[1] for one in told(desk, run)] == ["Failed"]


def test_what_awaits_its_next_execution_was_left_as_it_was_before(desk, entry):
    run = desk.flow_run()
    reset = through(entry(run, 0), RUNNING, COMPLETED)
    desk.record([reset])
    desk.propose(run, Failed())
    orchestration.rerun_from(desk.store, run, reset.id)
    assert told(desk, run) == [(1, "Failed", 1, 0, {"COMPLETED": 1})]
