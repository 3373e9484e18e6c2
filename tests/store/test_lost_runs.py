"""Runs whose process is gone leave Running: written once, whoever notices, and never those of a process that lives."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tidemill import clock, orchestration
from tidemill.exceptions import FlowRunIsLive
from tidemill.orchestration import processes
from tidemill.records import Lease
from tidemill.states import (
    CANCELLED,
    COMPLETED,
    CRASHED,
    FAILED,
    RUNNING,
    Cancelled,
    Cancelling,
    Failed,
    Pending,
    ResultReference,
)
from tidemill.store import entries, open_store, reading

HOST = os.uname().nodename
Process = subprocess.Popen[bytes]


def lease_of(pid: int, *, seconds: float = 3600) -> Lease:
    return processes.new_lease(pid, seconds)


@pytest.fixture
def process() -> Iterator[Process]:
    started = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield started
    started.kill()
    started.communicate()


def reclaim(desk: Any) -> list[orchestration.LostRun]:
    return orchestration.reclaim_lost_runs(desk.store, clock.now())


def end(process: Process) -> None:
    process.kill()
    process.wait()


def names(desk: Any, run: str) -> list[str]:
    return [state.name for state in reading.flow_run_states(desk.fetch, run)]


def test_a_process_that_lives_keeps_its_runs(desk: Any, process: Process) -> None:
    desk.flow_run(lease=lease_of(process.pid, seconds=-5))
    desk.flow_run(lease=lease_of(os.getpid(), seconds=-5))
    assert reclaim(desk) == []
    assert desk.count("lease") == 2


def test_the_runs_of_one_that_is_gone_have_crashed(desk: Any, process: Process) -> None:
    lease = lease_of(process.pid)
    runs = [desk.flow_run(lease=lease), desk.flow_run([Pending()], lease=lease), desk.flow_run(lease=lease)]
    desk.propose(runs[0], Pending(name="Again"), lease_id=lease.id, attempt=1)
    ended = desk.flow_run(lease=lease)
    desk.propose(ended, Failed())
    end(process)
    message = f"The process that ran it is gone (process {process.pid} on host {HOST})."
    lost = reclaim(desk)
    assert [run.flow_run_id for run in lost] == [runs[0], runs[2]]  # the second had no process yet
    assert {(run.name, run.state_type, run.message) for run in lost} == {("adept-capuchin", CRASHED, message)}
    state = reading.flow_run(desk.fetch, runs[2]).state  # type: ignore[union-attr]
    assert (state.type, state.message) == (CRASHED, message)  # type: ignore[union-attr]
    assert names(desk, ended)[-1] == "Failed"
    assert desk.count("lease") == 0
    assert reclaim(desk) == []


def test_their_unfinished_task_runs_have_crashed_with_them(desk: Any, process: Process) -> None:
    lease = lease_of(process.pid)
    run = desk.flow_run(lease=lease)
    done = desk.advance(desk.entry(run, 0, result=ResultReference("json", b"1")), RUNNING, COMPLETED)
    running = desk.advance(desk.entry(run, 1), RUNNING)
    desk.record([done, running, desk.entry(run, 2), desk.advance(desk.entry(run, 3), RUNNING, FAILED)], leases=[lease])
    end(process)
    before = clock.now()
    reclaim(desk)
    found = {entry.dynamic_key: entry for entry in entries.task_run_entries(desk.fetch, run)}
    assert [found[str(n)].progress.type for n in range(4)] == [COMPLETED, CRASHED, CRASHED, FAILED]
    assert found["0"].result == ResultReference("json", b"1")
    crashed = found["1"].progress
    type, _, message, time = crashed.history[-1]
    assert (type, message) == (
        "CRASHED",
        f"The process that ran it is gone (process {process.pid} on host {HOST}).",
    )
    assert crashed.end_time == time >= before
    assert crashed.total_run_time == time - running.progress.history[-1][3]
    assert found["2"].progress.total_run_time == 0


def test_one_that_was_to_be_cancelled_is_cancelled(desk: Any, process: Process) -> None:
    lease = lease_of(process.pid)
    run = desk.flow_run(lease=lease)
    desk.record([desk.advance(desk.entry(run), RUNNING)], leases=[lease])
    desk.propose(run, Cancelling())
    end(process)
    assert [lost.state_type for lost in reclaim(desk)] == [CANCELLED]
    assert [entry.progress.type for entry in entries.task_run_entries(desk.fetch, run)] == [CANCELLED]


def test_one_that_waited_for_its_retry_has_crashed(desk: Any, process: Process) -> None:
    lease = lease_of(process.pid)
    run = desk.flow_run(lease=lease, retries=3)
    desk.propose(run, Failed(), lease_id=lease.id, attempt=1)
    end(process)
    reclaim(desk)
    assert names(desk, run)[-2:] == ["AwaitingRetry", "Crashed"]


def test_a_stopped_process_loses_its_runs_only_after_its_deadline(
    desk: Any, process: Process, wait_until: Callable[..., None]
) -> None:
    patient, late = (desk.flow_run(lease=lease_of(process.pid, seconds=seconds)) for seconds in (3600, -1))
    process.send_signal(signal.SIGSTOP)
    lost: list[str] = []
    wait_until(lambda: lost.extend(run.flow_run_id for run in reclaim(desk)) or lost)
    assert lost == [late]
    assert names(desk, patient)[-1] == "Running"


def test_what_a_process_that_comes_back_writes_is_refused(desk: Any, process: Process) -> None:
    lease = lease_of(process.pid)
    crashed, cancelled = desk.flow_run(lease=lease), desk.flow_run(lease=lease)
    desk.propose(cancelled, Cancelling())
    end(process)
    reclaim(desk)
    refused = desk.record([desk.entry(crashed), desk.entry(cancelled)], leases=[lease])
    assert refused == {crashed: (1, "the flow run was declared crashed"), cancelled: (1, "the flow run was cancelled")}
    for run in (crashed, cancelled):
        verdict = desk.propose(run, Failed(), lease_id=lease.id, attempt=1)
        assert (verdict.status, "taken from this process" in verdict.reason) == ("ABORT", True)


def test_a_process_may_record_what_ends_after_it_cancelled_the_run_itself(desk: Any) -> None:
    lease = lease_of(os.getpid())
    run = desk.flow_run(lease=lease)
    desk.propose(run, Cancelling())
    desk.propose(run, Cancelled(), lease_id=lease.id, attempt=1)
    assert desk.record([desk.entry(run)], leases=[lease]) == {}


def test_where_nothing_is_lost_nothing_is_written(desk: Any) -> None:
    desk.flow_run(lease=lease_of(os.getpid()))
    # In PostgreSQL xmin is the transaction that wrote the row; in SQLite a write, even of the same, is counted.
    columns = "*" if desk.store.database.kind == "sqlite" else "*, xmin::text"

    def written() -> object:
        counted = desk.store.database._connection.total_changes() if columns == "*" else 0
        return [desk.rows(table, columns) for table in ("lease", "flow_run", "change")], counted

    before = written()
    assert reclaim(desk) == []
    assert written() == before


def _reclaim_in_step(path: str, barrier: Any, answers: Any) -> None:
    store = open_store(path, durability="process")
    store.database.fetch("SELECT 1")
    barrier.wait(60)
    answers.put([run.flow_run_id for run in orchestration.reclaim_lost_runs(store, clock.now())])
    store.database.close()


def test_of_eight_processes_that_notice_at_once_one_writes(desk: Any, process: Process) -> None:
    lease = lease_of(process.pid)
    runs = [desk.flow_run(lease=lease) for _ in range(5)]
    desk.record([desk.advance(desk.entry(run), RUNNING) for run in runs], leases=[lease])
    end(process)
    start = multiprocessing.get_context("spawn")
    barrier, answers = start.Barrier(8), start.Queue()
    racers = [start.Process(target=_reclaim_in_step, args=(desk.address, barrier, answers)) for _ in range(8)]
    for racer in racers:
        racer.start()
    found = [answers.get(timeout=120) for _ in racers]
    for racer in racers:
        racer.join(120)
    assert sorted(found)[:7] == [[]] * 7
    assert sorted(found)[7] == runs
    assert {tuple(names(desk, run)) for run in runs} == {("Pending", "Running", "Crashed")}
    stories = [entry.progress.history for run in runs for entry in entries.task_run_entries(desk.fetch, run)]
    assert {tuple(step[0] for step in story) for story in stories} == {("PENDING", "RUNNING", "CRASHED")}


def _begin_in_step(path: str, run: str, barrier: Any, answers: Any) -> None:
    store = open_store(path, durability="process")
    barrier.wait(60)
    try:
        answers.put(orchestration.begin_next_attempt(store, run, lease_of(os.getpid())).attempt)
    except FlowRunIsLive:
        answers.put("live")
    barrier.wait(60)  # nobody ends before all have tried
    store.database.close()


def test_of_eight_processes_that_resume_it_at_once_one_gets_it(desk: Any, process: Process) -> None:
    run = desk.flow_run(lease=lease_of(process.pid))
    end(process)
    start = multiprocessing.get_context("spawn")
    barrier, answers = start.Barrier(8), start.Queue()
    racers = [start.Process(target=_begin_in_step, args=(desk.address, run, barrier, answers)) for _ in range(8)]
    for racer in racers:
        racer.start()
    found = [answers.get(timeout=120) for _ in racers]
    for racer in racers:
        racer.join(120)
    assert sorted(found, key=str) == [2, *["live"] * 7]
    assert names(desk, run) == ["Pending", "Running", "Crashed", "Resuming"]
