"""Task runs outside flows are held by their process until they end: what it leaves unfinished crashes, once."""

import multiprocessing
import os
import subprocess
import sys
from typing import Any

import pytest

from tidemill import clock, ids, orchestration
from tidemill.exceptions import FlowRunIsLive
from tidemill.orchestration import processes
from tidemill.records import Lease, Progress, TaskRunEntry
from tidemill.states import COMPLETED, CRASHED, FAILED, RUNNING, SCHEDULED, Completed, Failed, ResultReference, StateType
from tidemill.store import entries, open_store

HOST = os.uname().nodename
ONE = ResultReference("json", b"1")


def lease_of(pid: int) -> Lease:
    return processes.new_lease(pid, 3600)


@pytest.fixture
def gone() -> Lease:
    """The lease of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    lease = lease_of(process.pid)
    process.communicate(b"\n")
    return lease


@pytest.fixture
def mine(desk: Any) -> Lease:
    """The lease of this process, recorded."""
    lease = lease_of(os.getpid())
    orchestration.take_lease(desk.store, lease)
    return lease


def take(desk: Any, lease: Lease, *types: StateType, key: object = 0, **more: Any) -> TaskRunEntry:
    """A task run outside a flow, recorded under a lease."""
    orchestration.take_lease(desk.store, lease)
    entry = desk.advance(desk.entry(None, key, lease_id=lease.id, **more), *types)
    assert desk.record([entry], leases=[]) == {}
    return entry


def found(desk: Any, entry: TaskRunEntry) -> TaskRunEntry:
    again = entries.task_run_entry(desk.fetch, entry.id)
    assert again is not None
    return again


def story(desk: Any, entry: TaskRunEntry) -> list[str]:
    return [step[0] for step in found(desk, entry).progress.history]


def reclaim(desk: Any) -> list[orchestration.LostRun]:
    return orchestration.reclaim_lost_runs(desk.store, clock.now())


def test_it_is_held_until_it_ends(desk: Any, mine: Lease) -> None:
    entry = take(desk, mine)
    for type in (RUNNING, SCHEDULED, RUNNING):
        desk.record([desk.advance(entry, type)])
        assert found(desk, entry).lease_id == mine.id
    desk.record([desk.advance(entry, FAILED)])
    assert found(desk, entry).lease_id is None


def test_one_that_names_no_lease_is_held_by_none(desk: Any, mine: Lease) -> None:
    entry = take(desk, mine, RUNNING)
    entry.lease_id = None
    entry.progress = entry.progress.then(StateType.PENDING, "NotReady", None, clock.now())
    desk.record([entry])
    assert found(desk, entry).lease_id is None
    orchestration.release_lease(desk.store, mine)
    assert found(desk, entry).progress.name == "NotReady"


def test_those_of_a_process_that_is_gone_have_crashed_once(desk: Any, gone: Lease, mine: Lease) -> None:
    done = take(desk, gone, RUNNING, COMPLETED, result=ONE)
    lost = [take(desk, gone, *types, key=n) for n, types in enumerate([(), (RUNNING,), (RUNNING, SCHEDULED)], 1)]
    others = take(desk, mine, RUNNING, key=4)
    before = clock.now()
    assert reclaim(desk) == []  # which tells of flow runs
    assert story(desk, done) == ["PENDING", "RUNNING", "COMPLETED"]
    assert found(desk, done).result == ONE
    for entry in lost:
        progress = found(desk, entry).progress
        type, _, message, time = progress.history[-1]
        assert (type, message) == (
            "CRASHED",
            f"The process that ran it is gone (process {gone.pid} on host {HOST}).",
        )
        assert progress.end_time == time >= before
    assert found(desk, lost[1]).progress.total_run_time > 0
    assert (story(desk, others), found(desk, others).lease_id) == (["PENDING", "RUNNING"], mine.id)
    assert desk.count("lease") == 1
    assert reclaim(desk) == []
    assert story(desk, lost[1]) == ["PENDING", "RUNNING", "CRASHED"]


def test_those_of_a_process_that_lives_are_left_alone(desk: Any, mine: Lease) -> None:
    entry = take(desk, mine, RUNNING)
    desk.execute("UPDATE lease SET deadline = 0")
    assert reclaim(desk) == []
    assert story(desk, entry) == ["PENDING", "RUNNING"]


def test_what_is_unfinished_when_a_lease_is_given_back_has_crashed(desk: Any, mine: Lease) -> None:
    entry = take(desk, mine, RUNNING)
    orchestration.release_lease(desk.store, mine)
    message = f"The process that ran it ended before it did (process {os.getpid()} on host {HOST})."
    assert found(desk, entry).progress.history[-1][:3] == ("CRASHED", None, message)
    assert desk.count("lease") == 0


def test_under_a_lease_that_is_not_there_it_is_recorded_but_not_held(desk: Any) -> None:
    entries_ = [desk.entry(None, n, lease_id=ids.new_id()) for n in range(3)]
    assert desk.record(entries_, leases=[]) == {}
    assert [found(desk, entry).lease_id for entry in entries_] == [None] * 3


def test_one_batch_may_hold_those_of_several_leases(desk: Any, mine: Lease) -> None:
    other = desk.another_lease()
    orchestration.take_lease(desk.store, other)
    wanted = [mine.id, other.id, None, mine.id] * 100
    batch = [desk.entry(None, n, lease_id=lease) for n, lease in enumerate(wanted)]
    desk.record(batch)
    assert [found(desk, entry).lease_id for entry in batch] == wanted


def test_what_a_process_that_was_taken_for_gone_says_of_them_counts(desk: Any, gone: Lease, mine: Lease) -> None:
    """There is no other attempt to protect, and its caller has the value."""
    finished, again, silent = (take(desk, gone, RUNNING, key=n) for n in range(3))
    reclaim(desk)
    finished.result = ONE
    again.lease_id = mine.id
    desk.record([desk.advance(finished, COMPLETED), again, silent])
    assert story(desk, finished) == ["PENDING", "RUNNING", "COMPLETED"]
    assert found(desk, finished).result == ONE
    assert (story(desk, again), found(desk, again).lease_id) == (["PENDING", "RUNNING"], mine.id)
    assert story(desk, silent) == ["PENDING", "RUNNING", "CRASHED"]  # nobody would end it again


def test_in_a_flow_what_was_declared_crashed_stays_so(desk: Any, gone: Lease) -> None:
    run = desk.flow_run(lease=gone)
    entry = desk.advance(desk.entry(run), RUNNING)
    desk.record([entry], leases=[gone])
    reclaim(desk)
    assert desk.record([desk.advance(entry, COMPLETED)], leases=[gone]).keys() == {run}
    assert story(desk, entry) == ["PENDING", "RUNNING", "CRASHED"]


def test_the_state_of_one_that_is_executed_cannot_be_set(desk: Any, mine: Lease) -> None:
    entry = take(desk, mine, RUNNING)
    with pytest.raises(FlowRunIsLive, match=f"'step-0' has not ended, .* process {os.getpid()} on host {HOST} executes it"):
        orchestration.set_task_run_state(desk.store, entry.id, Completed())
    desk.record([desk.advance(entry, FAILED)])
    orchestration.set_task_run_state(desk.store, entry.id, Completed())
    assert story(desk, entry) == ["PENDING", "RUNNING", "FAILED", "COMPLETED"]


def test_that_of_one_whose_process_is_gone_can(desk: Any, gone: Lease) -> None:
    entry = take(desk, gone, RUNNING)
    orchestration.set_task_run_state(desk.store, entry.id, Failed())
    assert story(desk, entry) == ["PENDING", "RUNNING", "CRASHED", "FAILED"]
    assert desk.count("lease") == 0


def _reclaim_in_step(path: str, barrier: Any) -> None:
    store = open_store(path, durability="process")
    store.database.fetch("SELECT 1")
    barrier.wait(60)
    orchestration.reclaim_lost_runs(store, clock.now())
    store.database.close()


def test_of_several_processes_that_notice_at_once_one_writes(desk: Any, gone: Lease) -> None:
    lost = [take(desk, gone, RUNNING, key=n) for n in range(5)]
    start = multiprocessing.get_context("spawn")
    barrier = start.Barrier(4)
    racers = [start.Process(target=_reclaim_in_step, args=(desk.address, barrier)) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(120)
    assert [racer.exitcode for racer in racers] == [0] * 4
    assert [found(desk, entry).progress.type for entry in lost] == [CRASHED] * 5
    assert {tuple(story(desk, entry)) for entry in lost} == {("PENDING", "RUNNING", "CRASHED")}


def test_a_task_run_is_read_back_with_its_lease(desk: Any, mine: Lease) -> None:
    entry = take(desk, mine, RUNNING)
    assert found(desk, entry) is not entry
    assert isinstance(found(desk, entry).progress, Progress)
    assert [one.id for one in entries.held_task_runs(desk.fetch, mine.id)] == [entry.id]
    assert entries.held_task_runs(desk.fetch, ids.new_id()) == []
