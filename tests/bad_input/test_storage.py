"""A home that cannot be written, a full disk, a damaged or newer database: one clear error, no function half run."""

import ctypes
import os
import resource
import sqlite3
import subprocess
import sys

import pytest

FLOW = """
import sys
from tidemill import flow, task
from tidemill.exceptions import StoreError

@task
def step(n):
    print("start", n, flush=True)
    value = bytes(100_000)
    print("end", n, flush=True)
    return value

@flow
def parent(steps):
    print("body", flush=True)
    for n in range(steps):
        step(n)
    return "done"
"""

CALL = FLOW + "\nprint(parent(int(sys.argv[1]) if sys.argv[1:] else 1))\n"

CAUGHT = (
    FLOW
    + """
try:
    print(parent(int(sys.argv[1])))
except StoreError as error:
    print("caught", type(error).__name__, error)
"""
)


def obey_permissions():
    """Takes from root what lets it write where the permissions say no; for others there is nothing to do."""
    if os.geteuid() == 0:
        drop_from_bounding_set, dac_override, dac_read_search = 24, 1, 2
        for capability in (dac_override, dac_read_search):
            ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0)


def refused(done, error, *words):
    """The script ended with this error, said once, and none of its functions was started."""
    assert done.returncode == 1, done.stderr
    assert "body" not in done.stdout
    last = done.stderr.rstrip().splitlines()[-1]
    assert last.startswith(f"tidemill.exceptions.{error}: "), done.stderr[-2000:]
    for word in words:
        assert word in last
    assert done.stderr.count("Traceback (most recent call last)") == 1
    assert done.stderr.count(last.partition(": ")[2]) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="root obeys permissions only where it can lay its powers down")
class TestReadOnly:
    def test_a_home_that_cannot_be_made(self, run_script, home):
        home.parent.joinpath("locked").mkdir(mode=0o500)
        where = home.parent / "locked" / "home"
        done = run_script(CALL, env={"TIDEMILL_HOME": str(where)}, preexec_fn=obey_permissions)
        refused(done, "StoreReadOnly", str(where), "TIDEMILL_HOME")

    def test_an_empty_home_that_cannot_be_written(self, run_script, home):
        home.mkdir(exist_ok=True)
        home.chmod(0o500)
        refused(run_script(CALL, preexec_fn=obey_permissions), "StoreReadOnly", str(home), "TIDEMILL_HOME")

    def test_a_home_that_could_be_written_before(self, run_script, home):
        assert run_script(CALL).returncode == 0
        for path in (*home.rglob("*"), home):
            path.chmod(0o500 if path.is_dir() else 0o400)
        refused(run_script(CALL, preexec_fn=obey_permissions), "StoreReadOnly", str(home))

    def test_what_was_recorded_can_still_be_read(self, run_script, home, child_environment):
        assert run_script(CALL).returncode == 0
        for path in (*home.rglob("*"), home):
            path.chmod(0o500 if path.is_dir() else 0o400)
        done = subprocess.run(
            [sys.executable, "-m", "tidemill", "flow-run", "ls"],
            env=child_environment(None), preexec_fn=obey_permissions, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "parent" in done.stdout


def test_a_home_that_is_a_file(run_script, home):
    if home.is_dir():
        home.rmdir()
    home.write_text("in the way")
    refused(run_script(CALL), "StoreReadOnly", str(home))
    assert home.read_text() == "in the way"


@pytest.fixture
def database(run_script, home):
    """The path of a database with a run in it."""
    assert run_script(CALL).returncode == 0
    return home / "tidemill.db"


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"this is no database, it is a letter to my mother. " * 1000),
        lambda path: path.write_bytes(path.read_bytes()[:4096]),
        lambda path: path.write_bytes(path.read_bytes()[:100] + bytes(8092) + path.read_bytes()[8192:]),
    ],
    ids=["something else", "cut short", "zeros inside"],
)
def test_a_damaged_database_is_refused_and_left_alone(run_script, database, damage):
    for beside in database.parent.glob("tidemill.db-*"):
        beside.unlink()
    damage(database)
    before = database.read_bytes()
    refused(run_script(CALL), "StoreCorrupt", str(database), "Move it away")
    assert database.read_bytes() == before


def test_a_newer_database_is_refused_and_left_alone(run_script, database):
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA user_version = 9999")
    connection.close()
    refused(run_script(CALL), "StoreTooNew", str(database), "9999", "pip install")
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (9999,)
    connection.close()


def test_the_command_line_says_it_too(cli, database):
    database.write_bytes(b"this is no database")
    said = cli("flow-run", "ls", code=1)
    assert "Traceback" not in said
    assert str(database) in said


@pytest.fixture
def small_disk(home):
    """A command that starts another on a home of a few megabytes, in a world of its own; None where that is not
    possible."""
    home.mkdir(exist_ok=True)
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    mount = 'mount -t tmpfs -o size=3m tmpfs "$TIDEMILL_HOME" && exec "$@"'
    command = ["unshare", *user, "--mount", "--propagation", "private", "sh", "-c", mount, "sh"]
    try:
        possible = subprocess.run([*command, "true"], env={**os.environ, "TIDEMILL_HOME": str(home)}, check=False)
    except FileNotFoundError:
        return None
    return None if possible.returncode else command


def no_task_half_run(stdout):
    """The tasks that were started, each of which also ended, in one run of the flow."""
    words = [line.split() for line in stdout.splitlines()]
    started = [n for word, *n in words if word == "start"]
    assert [n for word, *n in words if word == "end"] == started
    return started


def test_a_full_disk_is_one_clear_error_and_no_task_is_half_run(run_script, small_disk):
    if small_disk is None:
        pytest.skip("no disk of our own can be made here; the test below covers most of it")
    done = run_script(CAUGHT, "500", under=small_disk)
    assert done.returncode == 0, done.stderr
    assert len(no_task_half_run(done.stdout)) < 500
    (caught,) = (line for line in done.stdout.splitlines() if line.startswith("caught"))
    assert caught.startswith("caught StoreFull")
    assert "full" in caught
    assert done.stderr.count("Traceback") <= 2, "the flow's own failure may be logged; nothing else"


def test_a_full_disk_from_the_start(run_script, small_disk, home):
    if small_disk is None:
        pytest.skip("no disk of our own can be made here; the test below covers most of it")
    fill = [*small_disk, "sh", "-c", 'dd if=/dev/zero of="$TIDEMILL_HOME/ballast" bs=4k 2>/dev/null; exec "$@"', "sh"]
    refused(run_script(CALL, under=fill), "StoreFull", str(home))


ROOM_AGAIN = """
import os, subprocess
os.unlink(os.environ["TIDEMILL_HOME"] + "/ballast")
print("after", parent(1), flush=True)
subprocess.run([sys.executable, "-m", "tidemill", "db", "check"], check=True)
"""


def test_when_there_is_room_again_the_same_process_goes_on(run_script, small_disk):
    if small_disk is None:
        pytest.skip("no disk of our own can be made here")
    fill = [*small_disk, "sh", "-c", 'dd if=/dev/zero of="$TIDEMILL_HOME/ballast" bs=4k count=300 && exec "$@"', "sh"]
    done = run_script(CAUGHT + ROOM_AGAIN, "500", under=fill)
    assert done.returncode == 0, done.stderr
    assert "caught StoreFull" in done.stdout
    assert "after done" in done.stdout


def test_a_file_that_may_not_grow(run_script):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))

    done = run_script(CAUGHT, "500", preexec_fn=limit)
    assert done.returncode == 0, done.stderr
    assert len(no_task_half_run(done.stdout)) < 500
    assert "caught Store" in done.stdout
