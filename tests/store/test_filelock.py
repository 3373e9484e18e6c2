"""Who waits in the queue: is told for whom, gives up on a process that is stopped, and leaves nothing locked behind."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tidemill.exceptions import StoreUnreachable
from tidemill.store import filelock
from tidemill.store.filelock import FileLock
from tidemill.store.lock_holder import holder_of
from tidemill.store.sqlite import SqliteDatabase

Wait = Callable[..., None]

HOLD = """
import os, signal, sys
from tidemill.store.sqlite import SqliteDatabase

with SqliteDatabase(sys.argv[1]).transaction() as execute:
    execute("INSERT INTO log (level, timestamp, name, message) VALUES (20, 0, 'x', 'held')", ())
    print("in", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def hold(start_script: Any, path: Path) -> Callable[[], Any]:
    """Starts a process that is in the queue, in the middle of a transaction, until it is told a line."""

    def start() -> Any:
        process = start_script(HOLD, str(path))
        assert process.stdout.readline() == "in\n", process.told
        return process

    return start


@pytest.fixture
def stop(hold: Callable[[], Any], wait_until: Wait, path: Path) -> Callable[[], Any]:
    """Starts such a process, and stops it."""

    def start() -> Any:
        process = hold()
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: holder_of(f"{path}.lock").is_stopped)
        return process

    return start


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What was said on the console."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listener = Listener(logging.WARNING)
    logging.getLogger("tidemill").addHandler(listener)
    yield said
    logging.getLogger("tidemill").removeHandler(listener)


def patience(monkeypatch: pytest.MonkeyPatch, *, warn: float = 0.05, give_up: float) -> None:
    monkeypatch.setattr(filelock, "_WARN_AFTER_SECONDS", warn)
    monkeypatch.setattr(filelock, "_GIVE_UP_AFTER_SECONDS", give_up)


def is_free(path: Path) -> bool:
    lock = FileLock(f"{path}.lock")
    try:
        return lock.acquire(wait=False)
    finally:
        lock.forget()


def messages(database: SqliteDatabase) -> list[str]:
    return [row[0] for row in database.fetch("SELECT message FROM log ORDER BY seq")]


class TestHolder:
    def test_a_process_at_work_is_found(self, hold: Callable[[], Any], path: Path) -> None:
        process = hold()
        assert holder_of(f"{path}.lock")[1:] == (process.pid, False)

    def test_who_only_waits_does_not_hold(self, hold: Callable[[], Any], database: SqliteDatabase, path: Path) -> None:
        process = hold()
        waiting = threading.Thread(target=lambda: (database.enter(), database.leave()))
        waiting.start()
        assert holder_of(f"{path}.lock").pid == process.pid
        process.end("go on\n")
        waiting.join(60)

    def test_a_lock_that_is_free_has_none(self, database: SqliteDatabase, path: Path) -> None:
        database.enter()
        database.leave()
        assert holder_of(f"{path}.lock").pid is None

    def test_a_file_that_is_not_there_has_none(self, tmp_path: Path) -> None:
        assert holder_of(str(tmp_path / "nothing")).pid is None

    def test_where_the_system_does_not_tell_it_says_how_to_find_out(self, tmp_path: Path) -> None:
        told = holder_of(str(tmp_path / "tidemill.db.lock")).told(5.4)
        assert told.startswith(f"Another process has held the database {tmp_path}/tidemill.db for 5 seconds.")
        assert told.endswith(f"fuser {tmp_path}/tidemill.db.lock")


class TestStopped:
    def test_who_waits_for_it_is_told_once_and_then_gives_up(
        self,
        stop: Callable[[], Any],
        database: SqliteDatabase,
        monkeypatch: pytest.MonkeyPatch,
        warnings: list[str],
    ) -> None:
        process = stop()
        patience(monkeypatch, give_up=0.5)
        told = (
            f"Process {process.pid} holds the database {database.path} and is stopped, so nothing can be recorded: continue it "
            f"(kill -CONT {process.pid}) or end it (kill -9 {process.pid})."
        )
        for _ in range(2):
            with pytest.raises(StoreUnreachable) as caught:
                database.enter()
            assert str(caught.value) == told
        assert warnings == [told]

    def test_when_it_goes_on_so_does_everybody(
        self, stop: Callable[[], Any], database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch, wait_until: Wait, path: Path
    ) -> None:
        process = stop()
        with monkeypatch.context() as short:
            patience(short, give_up=0)
            with pytest.raises(StoreUnreachable):
                database.enter()
        process.send_signal(signal.SIGCONT)
        process.end("go on\n")
        wait_until(lambda: is_free(path))  # the wait that was given up has left nothing locked
        with database.transaction() as execute:
            execute("INSERT INTO log (level, timestamp, name, message) VALUES (20, 0, 'x', 'after')", ())
        assert messages(database) == ["held", "after"]

    def test_when_it_is_killed_who_waits_gets_in(
        self,
        stop: Callable[[], Any],
        database: SqliteDatabase,
        monkeypatch: pytest.MonkeyPatch,
        warnings: list[str],
        wait_until: Wait,
    ) -> None:
        process = stop()
        patience(monkeypatch, give_up=60)
        got_in = threading.Event()
        waiting = threading.Thread(target=lambda: (database.enter(), got_in.set(), database.leave()))
        waiting.start()
        wait_until(lambda: warnings)
        assert not got_in.is_set()
        process.kill()
        waiting.join(60)
        assert got_in.is_set()

    def test_a_database_that_is_current_can_be_read_meanwhile(
        self, database: SqliteDatabase, stop: Callable[[], Any], path: Path
    ) -> None:
        with database.transaction() as execute:
            execute("INSERT INTO log (level, timestamp, name, message) VALUES (20, 0, 'x', 'before')", ())
        database.close()
        stop()
        reader = SqliteDatabase(str(path))
        assert messages(reader) == ["before"]
        reader.close()

    def test_the_command_line_shows_what_is_recorded(self, start_script: Any, cli: Any, wait_until: Wait, home: Path) -> None:
        process = start_script(
            """
            import os, signal
            from tidemill import flow
            from tidemill.client import connect
            from tidemill.colour import BlockingIO

            @flow
            def sleeper():
                with connect(BlockingIO()).database.transaction():
                    print("in", flush=True)
                    os.kill(os.getpid(), signal.SIGSTOP)

            sleeper()
            """,
            env={"TIDEMILL_LEASE_SECONDS": "0.01"},
        )
        assert process.stdout.readline() == "in\n", process.told
        wait_until(lambda: holder_of(f"{home}/tidemill.db.lock").is_stopped)
        (run,) = cli("flow-run", "ls", "--json")
        assert (run["flow_name"], run["state_type"]) == ("sleeper", "RUNNING")


class TestWaiting:
    def test_a_process_at_work_is_waited_for_without_end(
        self,
        hold: Callable[[], Any],
        database: SqliteDatabase,
        monkeypatch: pytest.MonkeyPatch,
        warnings: list[str],
        wait_until: Wait,
    ) -> None:
        process = hold()
        patience(monkeypatch, give_up=0)
        got_in = threading.Event()
        waiting = threading.Thread(target=lambda: (database.enter(), got_in.set(), database.leave()))
        waiting.start()
        wait_until(lambda: warnings)
        assert warnings[0].startswith(f"Process {process.pid} has held the database {database.path} for 0 seconds")
        process.end("go on\n")
        waiting.join(60)
        assert got_in.is_set()

    def test_who_has_little_patience_gives_up_anyway(self, hold: Callable[[], Any], database: SqliteDatabase) -> None:
        process = hold()
        with database.waiting_at_most(0.01), pytest.raises(StoreUnreachable, match=f"Process {process.pid} has held"):
            database.enter()
        assert database.enter(wait=False) is False
        process.end("go on\n")
        assert database.enter()
        database.leave()

    def test_without_a_thread_to_be_had_it_waits_all_the_same(
        self, hold: Callable[[], Any], database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
    ) -> None:
        process = hold()
        patience(monkeypatch, give_up=0)

        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as full:
            full.setattr(threading.Thread, "start", refuse)
            with database.waiting_at_most(0.1), pytest.raises(StoreUnreachable):
                database.enter()
            process.stdin.write("go on\n")
            process.stdin.flush()
            assert database.enter()
            database.leave()
        assert len(warnings) >= 1

    def test_a_connection_is_closed_also_while_another_process_stays_in(
        self, database: SqliteDatabase, hold: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, path: Path
    ) -> None:
        with database.transaction():
            pass
        process = hold()
        monkeypatch.setattr("tidemill.store.sqlite._CLOSING_PATIENCE_SECONDS", 0.01)
        database.close()
        assert f"{path}-wal" not in [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_link(fd)]
        process.end("go on\n")
        assert messages(database) == ["held"]

    def test_a_lock_that_is_forgotten_while_somebody_waits_is_not_taken(
        self, hold: Callable[[], Any], wait_until: Wait, path: Path
    ) -> None:
        process = hold()
        lock = FileLock(f"{path}.lock")
        with pytest.raises(StoreUnreachable):
            lock.acquire(longest=0.01)
        lock.forget()
        process.end("go on\n")
        wait_until(lambda: is_free(path))
        wait_until(lambda: "tidemill-queue" not in [thread.name for thread in threading.enumerate()])


def _is_link(fd: str) -> bool:
    return os.path.islink(f"/proc/self/fd/{fd}")
