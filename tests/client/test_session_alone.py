"""The lease of a process that executes tasks outside flows: taken with the first of them, recorded before they are, given
back at its end."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tidemill import ids, settings
from tidemill.client import Client, close_sessions, connect
from tidemill.client.session import Session, session_for
from tidemill.colour import BlockingIO, run_blocking
from tidemill.records import TaskRunEntry
from tidemill.states import COMPLETED, CRASHED, PENDING, RUNNING, StateType

WaitUntil = Callable[..., None]


@pytest.fixture(autouse=True)
def open_home(home: Path) -> Iterator[None]:
    home.mkdir(exist_ok=True)
    yield
    close_sessions()


def client() -> Client:
    return connect(BlockingIO())


def session() -> Session:
    return session_for(settings.current())


def commit(entry: TaskRunEntry) -> None:
    run_blocking(client().commit(client().recorder.put(entry)))


@pytest.fixture
def begin(book: Any) -> Callable[[], TaskRunEntry]:
    """Begins a task run outside a flow."""
    return lambda: book.entry(lease_id=client().lease_for_task_run())


def recorded(entry: TaskRunEntry) -> TaskRunEntry:
    found = run_blocking(client().task_run_entry(entry.id))
    assert found is not None
    return found


def type_of(entry: TaskRunEntry) -> StateType:
    return recorded(entry).progress.type


def leases() -> list[str]:
    return [ids.from_bytes(row[0]) for row in client().database.fetch("SELECT id FROM lease ORDER BY acquired")]


def lose_lease() -> None:
    """What others do who see this process stopped past its lease."""
    database = session().store.database
    with database.transaction() as execute:
        execute("UPDATE lease SET boot_id = 'elsewhere', deadline = 0", ())
    run_blocking(client().reclaim_lost_runs())


def test_it_is_recorded_with_the_first_run_that_is_recorded_unfinished(begin: Any) -> None:
    entry = begin()
    assert leases() == []
    commit(entry)
    assert leases() == [entry.lease_id] == [client().lease_id]
    assert begin().lease_id == entry.lease_id
    assert recorded(entry).lease_id == entry.lease_id


def test_a_process_that_asks_for_it_to_hand_it_on_has_it_recorded() -> None:
    assert leases() == []
    lease = client().lease_id
    assert leases() == [lease] == [client().lease_for_task_run()]


def test_what_is_unfinished_at_the_end_of_the_process_has_crashed(begin: Any, book: Any) -> None:
    entry, done = begin(), begin()
    commit(entry)
    commit(book.end(done))
    close_sessions()
    assert (type_of(entry), type_of(done)) == (CRASHED, COMPLETED)
    assert leases() == []


def test_what_waits_at_the_end_of_the_process_has_crashed_too(begin: Any) -> None:
    with settings.using(flush_interval=60):
        entry = begin()
        client().recorder.put(entry)
        close_sessions()
        assert type_of(entry) is CRASHED


def test_whoever_takes_it_first_ends_the_runs_of_those_that_are_gone(
    begin: Any, start_script: Any, wait_until: WaitUntil
) -> None:
    process = start_script(
        """
        import sys
        from tidemill import task

        @task
        def waiting():
            print("waiting", flush=True)
            sys.stdin.readline()

        waiting()
        """,
        env={"TIDEMILL_FLUSH_INTERVAL": "0.01"},
    )
    assert process.stdout.readline() == "waiting\n", process.told
    wait_until(lambda: run_blocking(client().task_runs()))
    (lost,) = run_blocking(client().task_runs())
    process.kill()
    process.wait()
    commit(begin())
    states = {run.id: run.state_type for run in run_blocking(client().task_runs())}
    assert states.pop(lost.id) is CRASHED
    assert list(states.values()) == [PENDING]


def test_after_it_was_lost_runs_go_on_under_another(begin: Any, book: Any) -> None:
    going_on, ended = begin(), begin()
    commit(going_on)
    commit(ended)
    first = going_on.lease_id
    lose_lease()
    assert (type_of(going_on), leases()) == (CRASHED, [])
    going_on.progress = going_on.progress.then(RUNNING, None, None, going_on.created + 1)
    commit(going_on)
    assert (type_of(going_on), leases()) == (RUNNING, [going_on.lease_id])
    assert going_on.lease_id == begin().lease_id != first
    commit(book.end(ended))
    assert type_of(ended) is COMPLETED


def test_its_loss_is_noticed_by_the_pulse(begin: Any, wait_until: WaitUntil) -> None:
    with settings.using(lease_seconds=0.1, flush_interval=0.01):
        entry = begin()
        commit(entry)
        lose_lease()
        wait_until(lambda: begin().lease_id != entry.lease_id)
        close_sessions()


def test_it_is_renewed(begin: Any, wait_until: WaitUntil) -> None:
    def deadline() -> int:
        return client().database.fetch("SELECT deadline FROM lease")[0][0]

    with settings.using(lease_seconds=0.1, flush_interval=0.01):
        commit(begin())
        before = deadline()
        wait_until(lambda: deadline() > before)
        close_sessions()


def test_a_child_records_its_parents_run_under_the_parents_lease(begin: Any, run_script: Any) -> None:
    entry = begin()
    commit(entry)
    done = run_script(
        """
        import sys
        from tidemill.client import connect
        from tidemill.colour import BlockingIO, run_blocking
        from tidemill.states import RUNNING

        run, lease = sys.argv[1:]
        client = connect(BlockingIO())
        client.adopt_lease(lease)
        entry = run_blocking(client.task_run_entry(run))
        entry.progress = entry.progress.then(RUNNING, None, None, entry.created + 1)
        run_blocking(client.commit(client.recorder.put(entry)))
        print(len(client.database.fetch("SELECT 1 FROM lease")))
        """,
        entry.id,
        client().lease_id,
    )
    assert done.stdout == "1\n", done.stderr
    assert (type_of(entry), recorded(entry).lease_id) == (RUNNING, entry.lease_id)


def test_a_forked_child_takes_one_of_its_own(begin: Any) -> None:
    entry = begin()
    commit(entry)
    pid = os.fork()
    if not pid:
        try:
            own = begin()
            commit(own)
            close_sessions()
            os._exit(int(own.lease_id == entry.lease_id))
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (type_of(entry), leases()) == (PENDING, [entry.lease_id])
    runs = {run.id: run.state_type for run in run_blocking(client().task_runs())}
    assert sorted(runs.values(), key=str) == [CRASHED, PENDING]
