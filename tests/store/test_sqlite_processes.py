"""The SQLite database between processes and over time: starting together, forks, starvation, growth, backup, damage."""

import ctypes
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from tidemill.exceptions import StoreCorrupt, StoreError
from tidemill.store import migrate
from tidemill.store.filelock import FileLock
from tidemill.store.sqlite import SqliteDatabase

Run = Callable[..., Any]
MEBIBYTE = 1 << 20
LINE = "INSERT INTO log (level, timestamp, name, message) VALUES (20, 0, 'x', ?)"

START = """
import os, sys
from tidemill.store.filelock import FileLock
from tidemill.store.sqlite import SqliteDatabase

LINE = "INSERT INTO log (level, timestamp, name, message) VALUES (20, 0, 'x', ?)"
path = sys.argv[1]
database = SqliteDatabase(path)

def write(message):
    with database.transaction() as execute:
        execute(LINE, (message,))

def messages():
    return [row[0] for row in database.fetch("SELECT message FROM log ORDER BY seq")]

def is_free():
    lock = FileLock(path + ".lock")
    try:
        return lock.acquire(wait=False)
    finally:
        lock.forget()

def fork(child):
    pid = os.fork()
    if not pid:
        try:
            child()
            database.close()
            os._exit(0)
        finally:
            os._exit(1)
    return pid

def end(pid):
    assert os.waitpid(pid, 0)[1] == 0
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "tidemill.db"


@pytest.fixture
def database(path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(str(path))
    yield database
    database.close()


@pytest.fixture
def script(run_script: Run, path: Path) -> Callable[..., str]:
    """Runs a script that has the database at hand, and gives what it printed."""

    def run(source: str, **popen: Any) -> str:
        done = run_script(START + source, str(path), **popen)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def write(database: SqliteDatabase, messages: list[str]) -> None:
    with database.transaction() as execute:
        for message in messages:
            execute(LINE, (message,))


def test_of_processes_that_start_together_on_an_empty_file_one_applies_the_migrations(
    script: Callable[..., str], database: SqliteDatabase
) -> None:
    script(
        """
reading, writing = os.pipe()

def child():
    os.close(writing)
    os.read(reading, 1)  # until all are there
    for n in range(20):
        write(f"{os.getpid()} {n}")

children = [fork(child) for _ in range(8)]
os.close(writing)
for pid in children:
    end(pid)
"""
    )
    assert database.fetch("PRAGMA user_version") == [(migrate.latest(),)]
    assert database.fetch("SELECT count(*), count(DISTINCT message) FROM log") == [(160, 160)]
    assert database.check() == []


def test_a_process_that_waits_is_not_starved_by_one_that_never_stops(script: Callable[..., str]) -> None:
    printed = script(
        """
reading, writing = os.pipe()
os.set_blocking(reading, False)

def greedy():
    while True:
        write("mine")
        try:
            os.read(reading, 1)
            return
        except BlockingIOError:
            pass

write("first")
pid = fork(greedy)
for n in range(30):
    write("waited for")
os.write(writing, b"x")
end(pid)
said = messages()
print(said.count("waited for"), said.count("mine") > 0)
"""
    )
    assert printed.split() == ["30", "True"]


class TestFork:
    def test_a_child_neither_takes_part_in_nor_unlocks_its_parents_transaction(self, script: Callable[..., str]) -> None:
        printed = script(
            """
def child():
    assert not database.enter(wait=False), "the child got in"
    assert not is_free(), "the child unlocked the queue"

write("before")
with database.transaction() as execute:
    execute(LINE, ("parent",))
    pid = fork(child)
    end(pid)
    assert not is_free(), "the end of the child unlocked the queue"
    execute(LINE, ("parent again",))
print(messages(), is_free(), database.check())
"""
        )
        assert printed == "['before', 'parent', 'parent again'] True []\n"

    def test_a_child_has_a_connection_of_its_own(self, script: Callable[..., str]) -> None:
        printed = script(
            """
write("parent")
pid = fork(lambda: write("child"))
end(pid)
write("parent again")
print(messages(), database.check())
"""
        )
        assert printed == "['parent', 'child', 'parent again'] []\n"

    def test_a_child_that_only_ends_leaves_the_parents_log_of_changes_alone(self, script: Callable[..., str]) -> None:
        printed = script(
            """
write("parent")
pid = os.fork()
if not pid:
    sys.exit()
end(pid)
print(os.path.exists(path + "-wal"))
write("parent again")
print(messages(), database.check())
"""
        )
        assert printed == "True\n['parent', 'parent again'] []\n"

    def test_a_fork_while_another_thread_writes_leaves_both_working(self, script: Callable[..., str]) -> None:
        printed = script(
            """
import threading, warnings
warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
done = threading.Event()

def keep_writing():
    while not done.is_set():
        write("thread")

thread = threading.Thread(target=keep_writing)
thread.start()
for n in range(20):
    end(fork(lambda: write("child")))
done.set()
thread.join()
print(messages().count("child"), database.check())
"""
        )
        assert printed == "20 []\n"


class TestGrowth:
    def test_the_log_of_changes_stays_bounded(self, database: SqliteDatabase, path: Path) -> None:
        largest = 0
        for n in range(200):
            write(database, [f"{n} {m} " + "x" * 200 for m in range(250)])
            largest = max(largest, os.path.getsize(f"{path}-wal"))
        assert database.fetch("SELECT count(*) FROM log") == [(50_000,)]
        assert largest < 16 * MEBIBYTE

    def test_it_is_brought_into_the_file_by_one_that_keeps_the_others_out(self, path: Path) -> None:
        free_during_checkpoint: list[bool] = []

        class Watched(SqliteDatabase):
            def checkpoint_if_due(self) -> None:
                before = os.path.getsize(path)
                lock = FileLock(f"{path}.lock")
                free = lock.acquire(wait=False)
                super().checkpoint_if_due()
                lock.forget()
                if os.path.getsize(path) > before:
                    free_during_checkpoint.append(free)

        database = Watched(str(path))
        for _ in range(50):
            write(database, ["x" * 200_000])
        database.close()
        assert free_during_checkpoint
        assert not any(free_during_checkpoint)

    def test_the_last_to_close_waits_for_its_turn_too(self, database: SqliteDatabase, path: Path) -> None:
        write(database, ["said"])
        lock = FileLock(f"{path}.lock")
        lock.acquire()
        closing = threading.Thread(target=database.close)
        closing.start()
        assert os.path.exists(f"{path}-wal")
        lock.release()
        closing.join(60)
        assert not os.path.exists(f"{path}-wal")
        lock.forget()


class TestBackup:
    def test_a_backup_taken_while_others_write_is_one_moment(self, database: SqliteDatabase, tmp_path: Path) -> None:
        write(database, ["a", "b"])
        done = threading.Event()

        def keep_writing() -> None:
            other = SqliteDatabase(database.path)
            while not done.is_set():
                write(other, ["a" * 1_000, "b" * 1_000])
            other.close()

        thread = threading.Thread(target=keep_writing)
        thread.start()
        targets = [tmp_path / f"backup {n}.db" for n in range(5)]
        for target in targets:
            database.backup(str(target))
        done.set()
        thread.join()
        for target in targets:
            copy = SqliteDatabase(str(target))
            assert copy.check() == []
            ((count,),) = copy.fetch("SELECT count(*) FROM log")
            assert count >= 2
            assert count % 2 == 0
            copy.close()

    def test_it_is_one_file_and_can_be_used(self, database: SqliteDatabase, tmp_path: Path) -> None:
        write(database, ["one"])
        (tmp_path / "backups").mkdir()
        database.backup(str(tmp_path / "backups" / "copy.db"))
        assert os.listdir(tmp_path / "backups") == ["copy.db"]
        copy = SqliteDatabase(str(tmp_path / "backups" / "copy.db"))
        write(copy, ["two"])
        assert copy.fetch("SELECT message FROM log ORDER BY seq") == [("one",), ("two",)]
        copy.close()
        assert database.fetch("SELECT message FROM log") == [("one",)]

    def test_it_never_replaces_a_file(self, database: SqliteDatabase, tmp_path: Path) -> None:
        target = tmp_path / "precious.txt"
        target.write_text("precious")
        with pytest.raises(StoreError, match=f"{target} exists already"):
            database.backup(str(target))
        assert target.read_text() == "precious"

    def test_a_folder_that_does_not_exist_is_told(self, database: SqliteDatabase, tmp_path: Path) -> None:
        target = tmp_path / "nowhere" / "copy.db"
        with pytest.raises(StoreError, match=str(target)):
            database.backup(str(target))


class TestDamage:
    def test_a_sound_file_has_no_problems(self, database: SqliteDatabase) -> None:
        write(database, ["said"] * 1_000)
        assert database.check() == []

    def test_a_damaged_file_is_told(self, database: SqliteDatabase, path: Path) -> None:
        write(database, [f"line {n} " + "x" * 100 for n in range(2_000)])
        database.close()
        raw = bytearray(path.read_bytes())
        for start in range(len(raw) // 2, len(raw), 4096):
            raw[start : start + 64] = b"\xaa" * 64
        path.write_bytes(raw)
        try:
            problems = database.check()
        except StoreCorrupt as error:
            problems = [str(error)]
        assert problems
        assert re.search("(?i)page|tree|cell|damaged", problems[0])

    def test_a_row_that_points_nowhere_is_told(self, database: SqliteDatabase, path: Path) -> None:
        write(database, ["said"])
        with apsw.Connection(str(path)) as careless:
            careless.execute("INSERT INTO log (flow_run_id, level, timestamp, name, message) VALUES (x'00', 20, 0, 'x', 'x')")
        careless.close()
        assert database.check() == ["Row 2 of log points to a missing flow_run."]


def obey_permissions() -> None:
    """Takes from root what lets it write where the permissions say no."""
    if os.geteuid() == 0:
        for capability in (1, 2):
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="root obeys permissions only where it can lay its powers down")
@pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
def test_a_folder_that_cannot_be_written_can_still_be_read(script: Callable[..., str], path: Path, killed: bool) -> None:
    script("write('said')\n" + ("os._exit(0)" if killed else "database.close()"))
    assert os.path.exists(f"{path}-wal") is killed
    for file in path.parent.iterdir():
        file.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        printed = script(
            """
from tidemill.exceptions import StoreReadOnly
print(messages())
try:
    write("more")
except StoreReadOnly as error:
    print("refused", path in str(error) or os.path.dirname(path) in str(error))
""",
            preexec_fn=obey_permissions,
        )
    finally:
        path.parent.chmod(0o700)
    assert printed == "['said']\nrefused True\n"
