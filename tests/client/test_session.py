"""A process among others: it is fenced when it was taken to be gone, told when a run is to be cancelled, and records under
the lease of the process that started it."""

import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tidemill import ids, settings
from tidemill.client import Client, close_sessions, connect
from tidemill.client.session import session_for
from tidemill.colour import BlockingIO, run_blocking
from tidemill.exceptions import FencedRun
from tidemill.records import NewFlowRun, RunPolicy
from tidemill.states import CANCELLED, CANCELLING, CRASHED, RUNNING, Completed, Failed, Pending, Running, StateType

WaitUntil = Callable[..., None]


@pytest.fixture(autouse=True)
def open_home(home: Path) -> Iterator[None]:
    home.mkdir(exist_ok=True)
    yield
    close_sessions()


def client() -> Client:
    return connect(BlockingIO())


def start_flow_run(**more: Any) -> str:
    run = NewFlowRun(**{"id": ids.new_id(), "name": "adept-capuchin", "flow_name": "etl", **more})
    run_blocking(client().create_flow_run(run, [Pending(), Running()]))
    return run.id


def type_of(run: str) -> StateType | None:
    record = run_blocking(client().flow_run(run))
    return record.state_type if record is not None else None


def propose(run: str, state: Any, attempt: int = 1) -> str:
    return run_blocking(client().propose_flow_run_state(run, state, attempt)).status


SCRIPT = """
import json, os, sys, time
from tidemill import ids
from tidemill.client import connect
from tidemill.colour import BlockingIO, run_blocking
from tidemill.exceptions import FencedRun
from tidemill.records import NewFlowRun, Progress, TaskRunEntry
from tidemill.states import PENDING, RUNNING, Completed, Pending, Running
client = connect(BlockingIO())

def start(**more):
    run = NewFlowRun(**{"id": ids.new_id(), "name": "adept-capuchin", "flow_name": "etl", **more})
    return run_blocking(client.create_flow_run(run, [Pending(), Running()]))

def entry(run, key):
    story = Progress(PENDING, "Pending", (("PENDING", None, None, 1),)).then(RUNNING, None, None, 2)
    return TaskRunEntry(ids.new_id(), run, 1, f"step-{key}", "step", str(key), "[]", None, 1, story)

def say(*what):
    print(json.dumps(what), flush=True)
"""


def heard(process: Any) -> Any:
    line = process.stdout.readline()
    assert line, process.told
    return json.loads(line)


class TestBeingTakenForGone:
    SHORT = {"TIDEMILL_LEASE_SECONDS": "0.3", "TIDEMILL_FLUSH_INTERVAL": "0.01"}

    def lose(self, process: Any, run: str, suspend: Any, wait_until: WaitUntil) -> None:
        """Stops a process until its run is taken from it."""
        suspend(process)
        wait_until(lambda: run in run_blocking(client().reclaim_lost_runs()))
        assert type_of(run) is CRASHED

    def test_what_it_records_is_refused_and_the_newer_attempt_untouched(
        self, start_script: Any, suspend: Any, wait_until: WaitUntil
    ) -> None:
        process = start_script(
            SCRIPT
            + """
run = start().flow_run_id
run_blocking(client.commit(client.recorder.put(entry(run, 0))))
say(run)
sys.stdin.readline()
run_blocking(client.commit(client.recorder.put(entry(run, 1))))
try:
    client.raise_if_fenced(run, "task run 'step-1'")
except FencedRun as error:
    say("fenced", str(error))
say(run_blocking(client.propose_flow_run_state(run, Completed(), 1)).status)
""",
            env=self.SHORT,
        )
        (run,) = heard(process)
        self.lose(process, run, suspend, wait_until)
        assert run_blocking(client().begin_next_attempt(run)).attempt == 2
        before = [entry.progress for entry in run_blocking(client().task_run_entries(run))]
        process.send_signal(signal.SIGCONT)
        process.stdin.write("\n")
        process.stdin.flush()
        fenced, message = heard(process)
        assert fenced == "fenced"
        assert "for task run 'step-1' was not recorded: " in message
        assert heard(process) == ["ABORT"]
        assert [entry.progress for entry in run_blocking(client().task_run_entries(run))] == before
        assert type_of(run) is RUNNING

    def test_it_notices_by_itself_and_takes_a_new_lease(self, start_script: Any, suspend: Any, wait_until: WaitUntil) -> None:
        process = start_script(
            SCRIPT
            + """
run, lease = start().flow_run_id, client.lease_id
say(run)
while True:
    try:
        client.raise_if_fenced(run, "flow run")
    except FencedRun as error:
        break
    time.sleep(0.01)
other = start().flow_run_id
run_blocking(client.commit(client.recorder.put(entry(other, 0))))
client.raise_if_fenced(other, "flow run")
say(other, client.lease_id != lease)
say(run_blocking(client.propose_flow_run_state(other, Completed(), 1)).status)
""",
            env=self.SHORT,
        )
        (run,) = heard(process)
        self.lose(process, run, suspend, wait_until)
        process.send_signal(signal.SIGCONT)
        other, new = heard(process)
        assert new
        assert heard(process) == ["ACCEPT"]
        process.end()
        assert [len(run_blocking(client().task_run_entries(one))) for one in (run, other)] == [0, 1]
        assert type_of(run) is CRASHED

    def test_a_busy_process_is_never_taken_for_gone(self, start_script: Any) -> None:
        process = start_script(
            SCRIPT
            + """
run = start().flow_run_id
say(run)
import ctypes
hold = ctypes.PyDLL(None).usleep  # keeps Python's global lock, as a long call into C does
for _ in range(2):
    hold(600_000)
say(run_blocking(client.propose_flow_run_state(run, Completed(), 1)).status)
""",
            env=self.SHORT,
        )
        heard(process)
        lost: list[str] = []
        done = threading.Event()

        def look() -> None:
            while not done.is_set():
                lost.extend(run_blocking(client().reclaim_lost_runs()))

        looker = threading.Thread(target=look)
        looker.start()
        assert heard(process) == ["ACCEPT"]
        done.set()
        looker.join(60)
        assert lost == []

    def test_one_that_was_killed_is_noticed_by_the_next_flow_run(self, start_script: Any) -> None:
        process = start_script(SCRIPT + "say(start().flow_run_id)\nsys.stdin.readline()")
        (run,) = heard(process)
        process.kill()
        process.wait()
        start_flow_run()
        assert type_of(run) is CRASHED

    def test_one_that_was_killed_is_noticed_by_the_pulse_of_another(self, start_script: Any, wait_until: WaitUntil) -> None:
        with settings.using(lease_seconds=0.1, flush_interval=0.01):
            start_flow_run()
            process = start_script(SCRIPT + "say(start().flow_run_id)\nsys.stdin.readline()")
            (run,) = heard(process)
            process.kill()
            process.wait()
            wait_until(lambda: type_of(run) is CRASHED)

    def test_refusals_of_an_earlier_attempt_do_not_concern_the_next(self, book: Any) -> None:
        run = start_flow_run()
        propose(run, Failed())
        assert run_blocking(client().begin_next_attempt(run)).attempt == 2
        run_blocking(client().commit(client().recorder.put(book.entry(flow_run_id=run, attempt=1))))
        client().raise_if_fenced(run, "the new attempt")
        with pytest.raises(FencedRun, match="attempt 2 of the flow run has taken over from attempt 1"):
            client().raise_if_fenced(run, "the old attempt", attempt=1)


class TestCancelling:
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tidemill.client.session._SECONDS_BETWEEN_LOOKS", 0.02)

    def test_whoever_watches_is_told_once_what_another_process_asks(self, cli_cancel: Any, wait_until: WaitUntil) -> None:
        run, told = start_flow_run(), []
        client().watch(run, lambda: told.append(threading.current_thread().name))
        cli_cancel(run)
        wait_until(lambda: told)
        assert told == ["tidemill-pulse"]
        assert type_of(run) is CANCELLING
        assert propose(run, Completed()) == "REJECT"

    def test_what_the_process_asks_itself_is_told_too(self, wait_until: WaitUntil) -> None:
        run, told = start_flow_run(), threading.Event()
        client().watch(run, told.set)
        assert run_blocking(client().cancel_flow_run(run, "enough")).status == "ACCEPT"
        wait_until(told.is_set)

    def test_it_is_told_also_where_it_was_asked_before(self, wait_until: WaitUntil) -> None:
        run, told = start_flow_run(), threading.Event()
        run_blocking(client().cancel_flow_run(run))
        client().watch(run, told.set)
        wait_until(told.is_set)

    def test_who_watches_no_more_is_not_told(self, wait_until: WaitUntil) -> None:
        runs, told = [start_flow_run(), start_flow_run()], []
        for run in runs:
            client().watch(run, lambda run=run: told.append(run))  # type: ignore[misc]
        client().unwatch(runs[0])
        for run in runs:
            run_blocking(client().cancel_flow_run(run))
        wait_until(lambda: told)
        assert told == [runs[1]]

    def test_others_are_told_though_one_cannot_be(self, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture) -> None:
        def fail() -> None:
            raise KeyError("odd")

        runs, told = [start_flow_run(), start_flow_run()], threading.Event()
        client().watch(runs[0], fail)
        client().watch(runs[1], told.set)
        with caplog.at_level(logging.ERROR, "tidemill"):
            for run in runs:
                run_blocking(client().cancel_flow_run(run))
            wait_until(told.is_set)
        assert f"Flow run {runs[0]} could not be told that it is being cancelled." in caplog.messages

    def test_nothing_is_looked_for_once_nothing_is_watched(self, wait_until: WaitUntil) -> None:
        run = start_flow_run()
        client().watch(run, lambda: None)
        client().unwatch(run)
        pulse = session_for(settings.current())._pulse
        wait_until(lambda: pulse._next_look == float("inf"))

    def test_of_a_run_that_was_taken_over_nothing_is_recorded(self, wait_until: WaitUntil) -> None:
        run = start_flow_run()
        client().watch(run, lambda: None)
        with session_for(settings.current()).store.transaction() as execute:
            execute("UPDATE flow_run SET attempt = 2", ())
        session_for(settings.current()).watch.look_again()
        wait_until(lambda: client().recorder.refused)
        with pytest.raises(FencedRun, match="attempt 2 of the flow run has taken over"):
            client().raise_if_fenced(run, "flow run", attempt=1)

    def test_nor_of_one_that_others_ended(self, wait_until: WaitUntil, start_script: Any) -> None:
        run = start_flow_run()
        client().watch(run, lambda: None)
        done = start_script(
            SCRIPT
            + """
with client.database.transaction() as execute:  # as one does that sees this process stopped for long
    execute("UPDATE lease SET boot_id = 'elsewhere', deadline = 0", ())
say(run_blocking(client.reclaim_lost_runs()))
"""
        )
        assert heard(done) == [[run]]
        wait_until(lambda: client().recorder.refused)
        with pytest.raises(FencedRun, match="the flow run was ended by others, as CRASHED"):
            client().raise_if_fenced(run, "flow run")

    def test_a_retry_in_the_same_process_is_its_own(self, wait_until: WaitUntil) -> None:
        run, told = start_flow_run(policy=RunPolicy(retries=3)), threading.Event()
        client().watch(run, told.set)
        assert propose(run, Failed()) == "REJECT"
        assert propose(run, Running()) == "ACCEPT"
        run_blocking(client().cancel_flow_run(run))
        wait_until(told.is_set)  # so it has been looked at
        client().raise_if_fenced(run, "flow run")
        assert client().recorder.refused == {}

    def test_one_whose_process_is_gone_is_cancelled_at_once(self, start_script: Any) -> None:
        process = start_script(SCRIPT + "say(start().flow_run_id)\nsys.stdin.readline()")
        (run,) = heard(process)
        process.kill()
        process.wait()
        assert run_blocking(client().cancel_flow_run(run)).status == "ACCEPT"
        assert type_of(run) is CANCELLED

    @pytest.fixture
    def cli_cancel(self, run_script: Any) -> Callable[[str], None]:
        def cancel(run: str) -> None:
            source = "assert run_blocking(client.cancel_flow_run(sys.argv[1], None)).status == 'ACCEPT'"
            done = run_script(SCRIPT + source, run)
            assert done.returncode == 0, done.stderr

        return cancel


class TestOtherProcessesOfARun:
    def test_a_child_records_under_the_lease_that_it_adopts(self, run_script: Any) -> None:
        run = start_flow_run()
        source = """
run, lease = sys.argv[1:]
if lease:
    client.adopt_lease(lease)
run_blocking(client.commit(client.recorder.put(entry(run, 0))))
say(run in client.recorder.refused)
own = start().flow_run_id
say(client.lease_id != lease)
run_blocking(client.propose_flow_run_state(own, Completed(), 1))
"""
        assert run_script(SCRIPT + source, run, "").stdout.splitlines() == ["[true]", "[true]"]
        assert run_script(SCRIPT + source, run, client().lease_id).stdout.splitlines() == ["[false]", "[true]"]
        assert len(run_blocking(client().task_run_entries(run))) == 1
        assert propose(run, Completed()) == "ACCEPT"  # the child has not given the lease back

    def test_a_forked_child_ends_without_taking_the_runs_of_its_parent(self) -> None:
        run = start_flow_run()
        pid = os.fork()
        if not pid:
            try:
                close_sessions()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        assert type_of(run) is RUNNING
        assert run_blocking(client().reclaim_lost_runs()) == []


def test_what_is_left_at_the_end_of_the_process_has_crashed() -> None:
    run = start_flow_run()
    close_sessions()
    assert type_of(run) is CRASHED


def test_where_nothing_can_be_written_lost_runs_are_left_to_others(run_script: Any) -> None:
    done = run_script(
        SCRIPT
        + """
from tidemill.exceptions import StoreReadOnly
start()
from tidemill.store.sqlite import SqliteDatabase
with client.database.transaction() as execute:
    execute("UPDATE lease SET boot_id = 'elsewhere', deadline = 0", ())
def refuse(database):
    raise StoreReadOnly
SqliteDatabase.transaction, before = refuse, SqliteDatabase.transaction
say(run_blocking(client.reclaim_lost_runs()))
SqliteDatabase.transaction = before
say(len(run_blocking(client.reclaim_lost_runs())))
"""
    )
    assert done.stdout.splitlines() == ["[[]]", "[1]"], done.stderr


def test_the_call_of_a_flow_run_can_be_read_back() -> None:
    run = start_flow_run(call=("pickle", b"\x80"))
    assert run_blocking(client().flow_run_call(run)) == ("pickle", b"\x80")


def test_a_key_begins_the_same_run_again() -> None:
    run = start_flow_run(idempotency_key="key")
    propose(run, Failed())
    again = NewFlowRun(id=ids.new_id(), name="other", flow_name="etl", idempotency_key="key")
    started = run_blocking(client().create_flow_run(again, [Pending(), Running()]))
    assert (started.flow_run_id, started.name, started.attempt, started.existed) == (run, "adept-capuchin", 2, True)
    assert propose(run, Completed(), attempt=2) == "ACCEPT"


def test_task_runs_are_corrected_through_the_client(book: Any) -> None:
    run = start_flow_run()
    entry = book.end(book.entry(flow_run_id=run))
    run_blocking(client().commit(client().recorder.put(entry)))
    propose(run, Failed())
    run_blocking(client().set_task_run_state(entry.id, Failed()))
    run_blocking(client().rerun_from(run, entry.id))
    found = run_blocking(client().task_run_entry(entry.id))
    assert found is not None
    assert [step[0] for step in found.progress.history] == ["PENDING", "COMPLETED", "FAILED", "SCHEDULED"]
