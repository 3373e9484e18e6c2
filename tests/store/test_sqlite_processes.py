"""The SQLite database between processes: starting together, waiting, forking, and reading what cannot be written."""

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidemill.store import migrate
from tidemill.store.sqlite import SqliteDatabase

Run = Callable[..., Any]

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
def script(run_script: Run, path: Path) -> Callable[..., str]:
    """Runs a script that has the database at hand, and gives what it printed."""

    def run(source: str, **popen: Any) -> str:
        done = run_script(START + source, str(path), **popen)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


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

    def test_a_child_that_only_ends_leaves_the_parents_transaction_alone(self, script: Callable[..., str]) -> None:
        printed = script(
            """
write("parent")
transaction = database.transaction()
execute = transaction.__enter__()
execute(LINE, ("parent again",))
pid = os.fork()
if not pid:
    sys.exit()
end(pid)
assert os.path.exists(path + "-wal")
transaction.__exit__(None, None, None)
print(messages(), database.check())
"""
        )
        assert printed == "['parent', 'parent again'] []\n"

    def test_a_child_goes_on_when_its_parent_and_others_have_ended(self, script: Callable[..., str]) -> None:
        printed = script(
            """
import subprocess

def child():
    write("child")
    os.write(said, b"!")
    os.read(told, 1)  # the parent has ended, and with it all that it knew of the file
    for n in range(3):
        write("child")
        subprocess.run([sys.executable, __file__, path, "other"], check=True)
    os.kill(os.getpid(), 9)

if sys.argv[2:]:
    write("other")
    database.close()
    sys.exit()
told, end_of_parent = os.pipe()
child_says, said = os.pipe()
parent = os.fork()
if not parent:
    write("parent")
    pid = os.fork()
    if not pid:
        os.close(end_of_parent)
        child()
    os.read(child_says, 1)
    database.close()
    os._exit(0)
end(parent)
os.close(said)
os.close(end_of_parent)
while os.read(child_says, 1):  # until the child has ended
    pass
print([messages().count(who) for who in ("parent", "child", "other")], database.check())
"""
        )
        assert printed == "[1, 4, 3] []\n"

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

    def test_a_fork_while_another_thread_reads_what_was_leaves_both_working(self, script: Callable[..., str]) -> None:
        printed = script(
            """
import threading, warnings
warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
done = threading.Event()
write("parent")

def keep_reading():
    while not done.is_set():
        with database.snapshot() as fetch:
            fetch("SELECT message FROM log", ())

thread = threading.Thread(target=keep_reading)
thread.start()
for n in range(50):
    end(fork(lambda: write("child")))
done.set()
thread.join()
print(messages().count("child"), database.check())
"""
        )
        assert printed == "50 []\n"


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
