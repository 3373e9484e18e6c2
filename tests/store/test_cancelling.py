"""Cancelling from outside: asked of whoever works on the run, done at once where nobody does."""

import os
import subprocess
import sys
from typing import Any

import pytest

from tidemill import ids, orchestration
from tidemill.exceptions import ObjectNotFound
from tidemill.orchestration import Verdict, processes
from tidemill.records import Lease
from tidemill.states import (
    CANCELLED,
    CANCELLING,
    COMPLETED,
    CRASHED,
    RUNNING,
    Completed,
    Crashed,
    Failed,
    Paused,
    Pending,
    Scheduled,
    StateType,
)
from tidemill.store import entries, reading


def lease_of(pid: int) -> Lease:
    return processes.new_lease(pid, 3600)


@pytest.fixture
def mine() -> Lease:
    return lease_of(os.getpid())


@pytest.fixture
def gone() -> Lease:
    """The lease of a process that has ended since."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    lease = lease_of(process.pid)
    process.communicate()
    return lease


def cancel(desk: Any, run: str, reason: str | None = "no longer wanted") -> Verdict:
    return orchestration.cancel_flow_run(desk.store, run, reason)


def type_of(desk: Any, run: str) -> StateType | None:
    record = reading.flow_run(desk.fetch, run)
    return record.state_type if record is not None else None


def task_types(desk: Any, run: str) -> list[StateType]:
    return [entry.progress.type for entry in entries.task_run_entries(desk.fetch, run)]


def test_a_run_at_work_is_asked_to_stop(desk: Any, mine: Lease) -> None:
    run = desk.flow_run(lease=mine)
    desk.record([desk.advance(desk.entry(run), RUNNING)], leases=[mine])
    verdict = cancel(desk, run)
    assert verdict.status == "ACCEPT"
    assert verdict.state is not None
    assert (verdict.state.type, verdict.state.message) == (CANCELLING, "no longer wanted")
    assert type_of(desk, run) is CANCELLING
    assert task_types(desk, run) == [RUNNING]


def test_it_is_asked_once(desk: Any, mine: Lease) -> None:
    run = desk.flow_run(lease=mine)
    assert [cancel(desk, run).status for _ in range(2)] == ["ACCEPT", "REJECT"]
    assert len(reading.flow_run_states(desk.fetch, run)) == 3


def test_one_that_waits_for_its_retry_is_at_work(desk: Any, mine: Lease) -> None:
    run = desk.flow_run(lease=mine, retries=3)
    desk.propose(run, Failed(), lease_id=mine.id, attempt=1)
    assert cancel(desk, run).status == "ACCEPT"
    assert type_of(desk, run) is CANCELLING


@pytest.mark.parametrize("state", [Scheduled, Pending, Paused])
def test_one_that_nobody_works_on_is_cancelled_at_once(desk: Any, state: Any) -> None:
    run = desk.flow_run([state()])
    assert cancel(desk, run).status == "ACCEPT"
    assert type_of(desk, run) is CANCELLED


def test_one_whose_process_is_gone_is_cancelled_with_its_task_runs(desk: Any, gone: Lease) -> None:
    run, other = desk.flow_run(lease=gone), desk.flow_run(lease=gone)
    done = desk.advance(desk.entry(run, 0), RUNNING, COMPLETED)
    desk.record([done, desk.advance(desk.entry(run, 1), RUNNING), desk.entry(run, 2)], leases=[gone])
    verdict = cancel(desk, run, None)
    assert verdict.state is not None
    assert (verdict.state.type, verdict.state.message) == (CANCELLED, None)
    assert task_types(desk, run) == [COMPLETED, CANCELLED, CANCELLED]
    assert type_of(desk, other) is CRASHED  # what else the process had at work
    assert desk.count("lease") == 0


@pytest.mark.parametrize("ending", [Completed, Failed, Crashed])
def test_one_that_has_ended_stays_as_it_is(desk: Any, ending: Any) -> None:
    run = desk.flow_run()
    desk.propose(run, ending())
    verdict = cancel(desk, run)
    assert verdict.status == "ABORT"
    assert "has already ended" in (verdict.reason or "")
    assert type_of(desk, run) is ending().type


def test_subflow_runs_that_have_not_ended_follow(desk: Any, gone: Lease, mine: Lease) -> None:
    run = desk.flow_run(lease=gone)
    ended = desk.flow_run(lease=gone, parent_flow_run_id=run)
    desk.propose(ended, Completed())
    lost = desk.flow_run(lease=gone, parent_flow_run_id=run)
    at_work = desk.flow_run(lease=mine, parent_flow_run_id=lost)
    cancel(desk, run)
    assert [type_of(desk, one) for one in (run, ended, lost, at_work)] == [CANCELLED, COMPLETED, CANCELLED, CANCELLING]


def test_subflow_runs_of_one_at_work_are_asked_too(desk: Any, mine: Lease) -> None:
    run = desk.flow_run(lease=mine)
    subflow = desk.flow_run(lease=mine, parent_flow_run_id=run)
    cancel(desk, run)
    assert type_of(desk, subflow) is CANCELLING


def test_a_run_that_does_not_exist_is_told(desk: Any) -> None:
    with pytest.raises(ObjectNotFound):
        cancel(desk, ids.new_id())
