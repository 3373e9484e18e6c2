"""The client in this process: one session and lease for all its threads, nothing lost at the end, nothing left behind."""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tidemill import ids, settings
from tidemill.client import close_sessions, connect
from tidemill.client.session import session_for
from tidemill.colour import AsyncIO, BlockingIO, run_blocking
from tidemill.exceptions import FencedRun, StoreError
from tidemill.filters import Page
from tidemill.records import NewFlowRun
from tidemill.states import Completed, Pending, Running
from tidemill.store.filelock import FileLock

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def open_home(home: Path) -> Iterator[None]:
    home.mkdir(exist_ok=True)
    yield
    close_sessions()


def start_flow_run(connected: Any = None) -> str:
    """A flow run of this process, in Running."""
    run = NewFlowRun(id=ids.new_id(), name="adept-capuchin", flow_name="etl")
    run_blocking((connected or connect(BlockingIO())).create_flow_run(run, [Pending(), Running()]))
    return run.id


def leases() -> list[tuple[str, int]]:
    """The leases that are recorded, with their deadlines."""
    rows = session_for(settings.current()).store.database.fetch("SELECT id, deadline FROM lease")
    return [(ids.from_bytes(row[0]), row[1]) for row in rows]


def in_step(count: int, work: Callable[[], Any], *files: str) -> list[Any]:
    """Lets threads do the same side by side: before each line of these files, whoever runs it lets the others go first."""
    answers: list[Any] = []
    barrier = threading.Barrier(count)

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.endswith(files):
            return None
        if event == "line":
            time.sleep(0)
        return trace

    def run() -> None:
        barrier.wait()
        answers.append(work())

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threading.settrace(trace)
    try:
        threads = [threading.Thread(target=run) for _ in range(count)]
        for thread in threads:
            thread.start()
    finally:
        threading.settrace(None)  # type: ignore[arg-type]
    for thread in threads:
        thread.join(60)
    sys.setswitchinterval(before)
    return answers


class TestSession:
    def test_clients_of_any_colour_share_one(self) -> None:
        assert connect(BlockingIO()).recorder is connect(AsyncIO()).recorder

    def test_each_place_and_durability_has_its_own(self, tmp_path: Path) -> None:
        first = connect(BlockingIO()).recorder
        with settings.using(durability="relaxed"):
            relaxed = connect(BlockingIO()).recorder
        with settings.using(home=tmp_path / "elsewhere"):
            elsewhere = connect(BlockingIO()).recorder
        assert len({id(one) for one in (first, relaxed, elsewhere)}) == 3
        assert relaxed.relaxed
        assert connect(BlockingIO()).recorder is first

    def test_connecting_opens_nothing(self, home: Path) -> None:
        connect(BlockingIO())
        assert list(home.iterdir()) == []

    def test_threads_that_connect_at_once_share_one(self) -> None:
        for _ in range(10):
            found = in_step(4, lambda: id(connect(BlockingIO()).recorder), "client/session.py", "client/__init__.py")
            assert len(set(found)) == 1
            close_sessions()

    def test_after_it_was_closed_the_next_client_has_a_new_one(self) -> None:
        io = BlockingIO()
        before = connect(io)
        assert connect(io) is before
        close_sessions()
        assert connect(io) is not before
        assert connect(io).is_open


class TestLease:
    def test_there_is_none_before_a_flow_runs(self) -> None:
        assert run_blocking(connect(BlockingIO()).count_flow_runs()) == 0
        assert leases() == []

    def test_all_flow_runs_of_the_process_share_one(self) -> None:
        for _ in range(3):
            start_flow_run()
        assert len(leases()) == 1

    def test_threads_that_start_at_once_share_one(self) -> None:
        in_step(4, start_flow_run, "client/session.py")
        assert len(leases()) == 1
        assert run_blocking(connect(BlockingIO()).count_flow_runs()) == 4

    def test_it_is_renewed_while_the_user_code_is_busy(self) -> None:
        with settings.using(lease_seconds=0.1, flush_interval=0.01):
            start_flow_run()
            ((_, first),) = leases()
            deadline = time.monotonic() + 60
            while leases()[0][1] <= first + 200_000 and time.monotonic() < deadline:
                sum(range(1_000))
            ((_, last),) = leases()
            assert last > first + 200_000

    def test_it_is_given_back_at_the_end(self) -> None:
        start_flow_run()
        close_sessions()
        assert leases() == []

    def test_a_closed_session_leaves_the_database_alone(self, wait_until: Any) -> None:
        with settings.using(lease_seconds=0.003, flush_interval=0.2):
            session = session_for(settings.current())
            start_flow_run()
            ((_, first),) = leases()
            wait_until(lambda: leases()[0][1] > first)
            close_sessions()
            for thread in threading.enumerate():
                if thread.name == "tidemill-pulse":
                    thread.join(60)
            assert session.store.database._connection is None  # type: ignore[attr-defined]


class TestVerbs:
    def test_a_run_goes_through_its_states(self) -> None:
        connected = connect(BlockingIO())
        run = start_flow_run(connected)
        verdict = run_blocking(connected.propose_flow_run_state(run, Completed(), 1))
        assert verdict.status == "ACCEPT"
        states = run_blocking(connected.flow_run_states(run))
        assert [state.name for state in states] == ["Pending", "Running", "Completed"]

    def test_what_was_recorded_before_a_state_is_committed_with_it(self, book: Any) -> None:
        connected = connect(BlockingIO())
        run = start_flow_run(connected)
        connected.recorder.put(book.entry(flow_run_id=run))
        run_blocking(connected.propose_flow_run_state(run, Completed(), 1))
        assert connected.recorder.waiting == 0
        assert run_blocking(connected.count_task_runs()) == 1

    def test_a_refusal_reaches_whoever_works_on_the_run(self, book: Any) -> None:
        connected = connect(BlockingIO())
        run = start_flow_run(connected)
        run_blocking(connected.commit(connected.recorder.put(book.entry(flow_run_id=run, attempt=7))))
        connected.raise_if_fenced(ids.new_id(), "another run")
        connected.raise_if_fenced(None, "a task alone")
        with pytest.raises(FencedRun, match=r"for task run 'x' was not recorded: attempt 1 .* from attempt 7"):
            connected.raise_if_fenced(run, "task run 'x'")

    def test_when_relaxed_nobody_waits_for_a_commit(self, book: Any) -> None:
        with settings.using(durability="relaxed", flush_interval=2):
            connected = connect(BlockingIO())
            run_blocking(connected.commit(connected.recorder.put(book.entry())))
            assert connected.recorder.waiting == 1

    def test_while_another_process_writes_the_event_loop_turns_on(self, home: Path) -> None:
        run = start_flow_run()
        lock = FileLock(str(home / "tidemill.db.lock"))
        lock.acquire()

        async def main() -> str:
            asked = asyncio.create_task(connect(AsyncIO()).propose_flow_run_state(run, Completed(), 1))
            for _ in range(1_000):
                await asyncio.sleep(0)
            assert not asked.done()
            lock.release()
            return (await asked).status

        assert asyncio.run(main()) == "ACCEPT"
        lock.forget()

    def test_a_deleted_run_is_gone(self) -> None:
        run = start_flow_run()
        run_blocking(connect(BlockingIO()).delete_flow_run(run))
        assert run_blocking(connect(BlockingIO()).flow_run(run)) is None


RECORDING = """
import os, sys
from tidemill import ids
from tidemill.client import connect
from tidemill.colour import BlockingIO
connected = connect(BlockingIO())

def say(count):
    for n in range(count):
        connected.recorder.put_logs([(None, ids.new_id(), 20, 0, "tidemill.task_runs", str(n))])
"""


class TestExit:
    @pytest.mark.parametrize("durability", ["process", "relaxed"])
    @pytest.mark.parametrize("ending", ["", "sys.exit(3)", "raise KeyError", "raise KeyboardInterrupt"])
    def test_however_the_interpreter_ends_nothing_is_lost(self, run_script: Run, durability: str, ending: str) -> None:
        environment = {"TIDEMILL_DURABILITY": durability, "TIDEMILL_FLUSH_INTERVAL": "60"}
        run_script(RECORDING + f"say(500)\n{ending}", env=environment)
        logs = run_blocking(connect(BlockingIO()).logs(page=Page(1_000)))
        assert [log.message for log in logs] == [str(n) for n in range(500)]

    def test_an_exit_waits_for_no_interval(self, run_script: Run) -> None:
        environment = {"TIDEMILL_FLUSH_INTERVAL": "600", "TIDEMILL_LEASE_SECONDS": "6000"}
        done = run_script(RECORDING + "say(1)\nconnected._session.lease()", env=environment, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")

    def test_what_cannot_be_written_at_the_exit_is_told(self, run_script: Run) -> None:
        done = run_script(
            RECORDING
            + """
say(1)
from tidemill.exceptions import StoreFull
def write(batch):
    raise StoreFull
connected.recorder._write = write
"""
        )
        assert "the last records of this process could not be written. The disk that holds the database is full." in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_forked_child_writes_nothing_of_its_parents(self, run_script: Run) -> None:
        done = run_script(
            RECORDING
            + """
import json
from tidemill import settings
from tidemill.client.session import session_for
lease = session_for(settings.current()).lease().id
say(3)
child = os.fork()
if not child:
    print(json.dumps([connected.recorder.waiting, session_for(settings.current()).lease().id != lease]), flush=True)
    sys.exit()
os.waitpid(child, 0)
print(json.dumps([connected.recorder.waiting, session_for(settings.current()).lease().id != lease]))
""",
            env={"TIDEMILL_FLUSH_INTERVAL": "60"},
        )
        assert [json.loads(line) for line in done.stdout.splitlines()] == [[0, True], [3, False]], done.stderr
        assert len(run_blocking(connect(BlockingIO()).logs())) == 3


def test_a_store_that_cannot_be_opened_is_an_error_of_every_verb(home: Path) -> None:
    (home / "tidemill.db").write_text("my diary " * 1_000)
    with pytest.raises(StoreError):
        start_flow_run()
    with pytest.raises(StoreError):
        run_blocking(connect(BlockingIO()).flow_runs())
