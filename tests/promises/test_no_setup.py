"""Promise 1. No set-up: a script records its runs in an empty home, and leaves nothing behind but the file."""

import os
import subprocess
import sys

import pytest

FIRST_RUN = """
import os, sys, threading
before = set(threading.enumerate())
from tidemill import flow, task

@task
def add_one(x):
    return x + 1

@flow
def first():
    return add_one(1)

print(first())
"""


def test_a_script_in_an_empty_home_records_its_runs(run_script, cli, home):
    assert not home.exists() or not any(home.iterdir())
    done = run_script(FIRST_RUN)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    (run,) = cli("flow-run", "ls", "--json")
    assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Completed")
    (task_run,) = cli("task-run", "ls", "--json")
    assert task_run["flow_run_id"] == run["id"]
    assert (home / "tidemill.db").is_file()


def test_nothing_is_needed_of_the_machine(run_script, home):
    bare = {
        name: value for name, value in os.environ.items() if name in {"PATH", "LD_LIBRARY_PATH", "SYSTEMROOT"}
    }  # no HOME, no USER, no locale, no terminal
    done = run_script("import os\nos.environ.clear()\nos.environ.update({!r})\n".format({**bare, "TIDEMILL_HOME": str(home)}) + FIRST_RUN)  # fmt: skip # noqa: E501
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


def test_without_a_setting_the_home_is_in_the_users_home(run_script, tmp_path):
    done = run_script("import os\nos.environ.pop('TIDEMILL_HOME')\n" + FIRST_RUN, env={"HOME": str(tmp_path / "somebody")})
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    assert [path.name for path in (tmp_path / "somebody").rglob("tidemill.db")] == ["tidemill.db"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="looks into /proc")
def test_no_child_process_no_port_and_no_thread_that_holds_the_exit(run_script):
    done = run_script(
        FIRST_RUN
        + """
import glob
children = "".join(open(path).read() for path in glob.glob("/proc/self/task/*/children"))
print("children", children.split())
sockets = [os.readlink(fd) for fd in glob.glob("/proc/self/fd/*") if os.path.exists(fd)]
print("sockets", [link for link in sockets if link.startswith("socket:")])
print("threads", [thread.name for thread in set(threading.enumerate()) - before if not thread.daemon])
"""
    )
    assert done.stdout.splitlines()[1:] == ["children []", "sockets []", "threads []"], done.stderr


def test_no_process_outlives_the_script(run_script):
    """Whoever inherits the script's stdout and lives on would keep the pipe open, and the read would not end."""
    done = run_script(FIRST_RUN, timeout=60)
    assert done.returncode == 0


def test_the_exit_of_the_interpreter_loses_nothing(run_script, cli):
    done = run_script(
        """
        from tidemill import flow, task, get_run_logger

        @task
        def add_one(x):
            get_run_logger().info("said %d", x)
            return x + 1

        @flow
        def many():
            for n in range(300):
                add_one(n)
            get_run_logger().info("said the last word")

        many()
        """
    )
    assert done.returncode == 0, done.stderr
    runs = cli("task-run", "ls", "--json", "--limit", "1000")
    assert [run["state_type"] for run in runs] == ["COMPLETED"] * 300
    (run,) = cli("flow-run", "ls", "--json")
    messages = [log["message"] for log in cli("flow-run", "logs", run["id"], "--json", "--limit", "5000")]
    assert sum(message.startswith("said ") for message in messages) == 301
    assert messages[-1] == "Finished in state Completed('All states completed.')"


@pytest.mark.parametrize("ending", ["sys.exit(3)", "raise SystemExit(3)", "os._exit(3)"])
def test_however_the_script_ends_what_finished_is_recorded(run_script, cli, ending):
    done = run_script(FIRST_RUN + ending + "\n")
    assert (done.returncode, done.stdout.strip()) in [(3, "2"), (3, "")]
    (run,) = cli("flow-run", "ls", "--json")
    assert run["state_type"] == "COMPLETED"
    (task_run,) = cli("task-run", "ls", "--json")
    assert task_run["state_type"] == "COMPLETED"


@pytest.mark.parametrize("way", ["-c", "-m", "stdin"])
def test_it_runs_however_python_is_started(way, tmp_path, child_environment, cli):
    (tmp_path / "first_run.py").write_text(FIRST_RUN)
    command = {"-c": ["-c", FIRST_RUN], "-m": ["-m", "first_run"], "stdin": ["-"]}[way]
    done = subprocess.run(
        [sys.executable, *command],
        input=FIRST_RUN if way == "stdin" else "",
        cwd=tmp_path,
        env=child_environment(None),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    assert len(cli("flow-run", "ls", "--json")) == 1
