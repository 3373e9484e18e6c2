"""Runs of a process whose runs a server records: they arrive whole and once, and what others say of them is heard."""

import asyncio
import os
import threading
import time

import pytest

from tidemill import clock, flow, get_run_logger, orchestration, task
from tidemill.client import close_sessions, connect
from tidemill.colour import BlockingIO, run_blocking
from tidemill.engine.calls import resume_flow
from tidemill.exceptions import CancelledRun, FencedRun, MissingResult
from tidemill.orchestration import processes
from tidemill.store import reading


@task
def double(n):
    get_run_logger().info("doubling %s", n)
    return 2 * n


@flow
def doubled(n):
    return [double(i) for i in range(n)]


def only_flow_run(served):
    (run,) = reading.flow_runs(served.store.database.fetch)
    return run


def state_names(served, run_id):
    return [state.name for state in reading.flow_run_states(served.store.database.fetch, run_id)]


def test_a_run_is_on_the_server_when_its_flow_has_ended(served, be_machine):
    with be_machine(served.url) as machine:
        assert doubled(3) == [0, 2, 4]
        run = only_flow_run(served)
        assert (run.flow_name, run.state_name, run.run_count) == ("doubled", "Completed", 1)
        assert state_names(served, run.id) == ["Pending", "Running", "Completed"]
        task_runs = reading.task_runs(served.store.database.fetch)
        assert sorted(each.name.rpartition("-")[2] for each in task_runs) == ["0", "1", "2"]
        assert {each.state_name for each in task_runs} == {"Completed"}
        lines = [line.message for line in reading.logs(served.store.database.fetch)]
        assert [line for line in lines if line.startswith("doubling")] == ["doubling 0", "doubling 1", "doubling 2"]
        assert machine.session.shipping.progress().last_error is None


def test_every_row_is_on_the_server_as_it_is_in_the_journal(served, be_machine):
    with be_machine(served.url) as machine:
        doubled(3)
        assert machine.session.acknowledged()
        for query in (
            "SELECT * FROM task_run ORDER BY id",
            "SELECT * FROM flow_run_state ORDER BY flow_run_id, seq",
            "SELECT flow_run_id, task_run_id, level, timestamp, name, message FROM log ORDER BY seq",
            "SELECT id, name, attempt, parameters, created, start_time, end_time, total_run_time FROM flow_run",
        ):
            assert served.store.database.fetch(query) == machine.journal.database.fetch(query) != []


def test_an_async_flow_too(served, be_machine):
    @task
    async def square(n):
        await asyncio.sleep(0)
        return n * n

    @flow
    async def squares(n):
        return await asyncio.gather(*(square(i) for i in range(n)))

    with be_machine(served.url):
        assert asyncio.run(squares(20)) == [i * i for i in range(20)]
        assert only_flow_run(served).state_name == "Completed"
        assert reading.count_task_runs(served.store.database.fetch) == 20


def test_subflows_retries_and_submitted_tasks_too(served, be_machine):
    tries = []

    @task(retries=1)
    def second_time():
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("once")
        return len(tries)

    @flow(retries=1)
    def outer():
        futures = double.map([1, 2, 3])
        doubled(2)
        second_time()
        if len(tries) == 2:
            tries.append(1)
            raise ValueError("again")
        return futures.result()

    with be_machine(served.url):
        assert outer() == [2, 4, 6]
    runs = {run.flow_name: run for run in reading.flow_runs(served.store.database.fetch)}
    assert {name: run.state_name for name, run in runs.items()} == {"outer": "Completed", "doubled": "Completed"}
    assert runs["doubled"].parent_flow_run_id == runs["outer"].id
    assert state_names(served, runs["outer"].id) == ["Pending", "Running", "AwaitingRetry", "Retrying", "Completed"]
    assert runs["outer"].run_count == 2


def test_a_task_outside_a_flow_is_sent_at_the_end_of_the_process(served, be_machine):
    with be_machine(served.url):
        assert double(4) == 8
    (run,) = reading.task_runs(served.store.database.fetch)
    assert (run.state_name, run.flow_run_id) == ("Completed", None)


def test_a_failed_flow_run_is_recorded_with_its_error(served, be_machine):
    @flow
    def broken():
        raise ValueError("no good")

    with be_machine(served.url), pytest.raises(ValueError, match="no good"):
        broken()
    run = only_flow_run(served)
    assert run.state.state_details.error.message == "no good"


def test_who_is_cancelled_from_elsewhere_stops(served, be_machine, wait_until):
    began = threading.Event()

    @flow
    def endless():
        began.set()
        while True:
            time.sleep(0.01)

    def cancel():
        began.wait()
        wait_until(lambda: reading.flow_runs(served.store.database.fetch))
        orchestration.cancel_flow_run(served.store, only_flow_run(served).id, "enough")

    with be_machine(served.url):
        canceller = threading.Thread(target=cancel)
        canceller.start()
        with pytest.raises(CancelledRun, match="enough"):
            endless()
        canceller.join()
        run = only_flow_run(served)
    assert (run.state_name, run.state.message) == ("Cancelled", "enough")
    assert state_names(served, run.id) == ["Pending", "Running", "Cancelling", "Cancelled"]


def lose(served):
    """The server takes every process to have ended, as if they were elsewhere and had not been heard of."""
    with served.store.transaction() as execute:
        execute("UPDATE lease SET boot_id = 'elsewhere', deadline = 0", ())
    lost = orchestration.reclaim_lost_runs(served.store, clock.now())
    assert len(lost) == 1


def test_a_run_that_was_taken_to_be_lost_goes_on_when_its_process_is_heard_of(served, be_machine, wait_until):
    @flow
    def long():
        double(1)
        wait_until(lambda: reading.flow_runs(served.store.database.fetch))
        lose(served)
        run = only_flow_run(served)
        assert run.state_name == "Crashed"
        double(2)
        wait_until(lambda: only_flow_run(served).state_name == "Running")
        wait_until(lambda: reading.count_task_runs(served.store.database.fetch) == 2)
        return double(3)

    with be_machine(served.url):
        assert long() == 6
    run = only_flow_run(served)
    assert state_names(served, run.id) == ["Pending", "Running", "Crashed", "Running", "Completed"]
    assert (run.run_count, run.state_name) == (1, "Completed")
    assert {each.state_name for each in reading.task_runs(served.store.database.fetch)} == {"Completed"}


def test_a_task_run_that_was_at_work_then_ends_as_it_did(served, be_machine, wait_until):
    @task
    def slow():
        wait_until(lambda: reading.count_task_runs(served.store.database.fetch))
        lose(served)
        (run,) = reading.task_runs(served.store.database.fetch)
        assert run.state_name == "Crashed"
        return 1

    @flow
    def around():
        return slow()

    with be_machine(served.url):
        assert around() == 1
    (run,) = reading.task_runs(served.store.database.fetch)
    assert [state.name for state in reading.task_run_states(served.store.database.fetch, run.id)] == [
        "Pending",
        "Running",
        "Completed",
    ]
    assert state_names(served, run.flow_run_id) == ["Pending", "Running", "Crashed", "Completed"]


def test_a_run_that_others_have_taken_over_is_lost_to_its_process(served, be_machine, wait_until):
    @flow
    def long():
        double(1)
        wait_until(lambda: reading.count_task_runs(served.store.database.fetch))
        lose(served)
        other = processes.new_lease(os.getpid(), 600)
        started = orchestration.begin_next_attempt(served.store, only_flow_run(served).id, other)
        assert started.attempt == 2
        while True:
            double(2)
            time.sleep(0.01)

    with be_machine(served.url), pytest.raises(FencedRun):
        long()
    run = only_flow_run(served)
    assert (run.state_name, run.run_count) == ("Resuming", 2)
    assert reading.count_task_runs(served.store.database.fetch) == 1


def test_a_run_that_was_deleted_on_the_server_is_not_made_anew(served, be_machine, wait_until):
    @flow
    def long():
        wait_until(lambda: reading.flow_runs(served.store.database.fetch))
        run_id = only_flow_run(served).id
        orchestration.delete_flow_run(served.store, run_id)
        while True:
            double(2)
            time.sleep(0.01)

    with be_machine(served.url), pytest.raises(FencedRun, match="was deleted"):
        long()
    assert reading.flow_runs(served.store.database.fetch) == []


def test_a_run_goes_on_on_another_machine(served, be_machine):
    executed = []
    repaired = False

    @task
    def step(n):
        executed.append(n)
        if n == 3 and not repaired:
            raise ValueError("broken")
        return n

    @flow
    def steps():
        return [step(n) for n in range(5)]

    with be_machine(served.url, "first"), pytest.raises(ValueError, match="broken"):
        steps()
    run = only_flow_run(served)
    repaired = True
    with be_machine(served.url, "second") as second:
        assert resume_flow(steps, run.id, {}).result() == [0, 1, 2, 3, 4]
        assert second.count("task_run") == 5
    assert executed == [0, 1, 2, 3, 3, 4]
    run = only_flow_run(served)
    assert (run.state_name, run.run_count) == ("Completed", 2)
    assert reading.count_task_runs(served.store.database.fetch) == 5


def test_a_key_holds_for_every_machine(served, be_machine):
    executed = []

    @flow(idempotency_key="once-{n}")
    def once(n):
        executed.append(n)
        return n + 1

    with be_machine(served.url, "first"):
        assert once(1) == 2
    with be_machine(served.url, "second"):
        assert once(1) == 2
        assert once(2) == 3
    assert executed == [1, 2]
    assert reading.count_flow_runs(served.store.database.fetch) == 2


def test_a_cached_result_serves_every_machine(served, be_machine):
    executed = []

    @task(cache_key_fn=lambda context, parameters: f"key-{parameters['n']}")
    def costly(n):
        executed.append(n)
        return n + 1

    @flow
    def around():
        return costly(1)

    with be_machine(served.url, "first"):
        assert around() == 2
    with be_machine(served.url, "second"):
        assert around() == 2
    assert executed == [1]
    assert {run.state_name for run in reading.task_runs(served.store.database.fetch)} == {"Completed", "Cached"}


def test_a_forked_child_records_for_itself(served, be_machine):
    with be_machine(served.url):
        doubled(1)
        child = os.fork()
        if child == 0:
            try:
                doubled(2)
                close_sessions()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        doubled(3)
    assert reading.count_flow_runs(served.store.database.fetch) == 3
    assert reading.count_task_runs(served.store.database.fetch) == 6


def test_a_large_commit_is_shipped_in_pieces(serve, be_machine):
    served = serve(server_max_body=2_000_000)

    @flow
    def talkative():
        logger = get_run_logger()
        for n in range(20):
            logger.info("%s %s", n, "x" * 200_000)

    with be_machine(served.url):
        talkative()
    lines = [line.message for line in reading.logs(served.store.database.fetch) if "xxx" in line.message]
    assert [line.split()[0] for line in lines] == [str(n) for n in range(20)]


def test_what_cannot_be_kept_is_told_elsewhere_too(served, be_machine):
    @flow(persist_result=False)
    def kept_nowhere():
        return 5

    with be_machine(served.url, "first"):
        kept_nowhere()
    with be_machine(served.url, "second"):
        run = run_blocking(connect(BlockingIO()).flow_run(only_flow_run(served).id))
        with pytest.raises(MissingResult):
            run.state.result()


def test_the_entries_of_task_runs_are_whole_on_the_server(served, be_machine):
    with be_machine(served.url, "first"):
        doubled(2)
        here = run_blocking(connect(BlockingIO()).task_run_entries(only_flow_run(served).id))
    with be_machine(served.url, "second"):
        there = run_blocking(connect(BlockingIO()).task_run_entries(only_flow_run(served).id))
    assert [entries_of(entry) for entry in here] == [entries_of(entry) for entry in there]
    assert [entry.result for entry in there] == [entry.result for entry in here] != [None, None]


def entries_of(entry):
    return entry.id, entry.progress, entry.input_hash, entry.task_key, entry.dynamic_key, entry.details
