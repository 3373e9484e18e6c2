"""Promise 9 and promise 1. A server is optional: scripts record with one or without, and it shows what either has recorded."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

SCRIPT = """
import sys
from tidemill import flow, task, get_run_logger

@task
def add_one(x):
    get_run_logger().info("adding to %s", x)
    return x + 1

@flow(flow_run_name="run-of-{name}")
def first(name):
    return add_one(1)

print(first(sys.argv[1]))
"""

# Goes on until a file appears, so that servers come and go meanwhile.
LONG_SCRIPT = """
import os, sys, time
from tidemill import flow, task

@task
def step(n):
    return n

@flow(flow_run_name="long-run")
def long(until):
    n = 0
    while not os.path.exists(until):
        assert step(n) == n
        n += 1
        time.sleep(0.005)
    return n

print(long(sys.argv[1]), flush=True)
"""


class Server:
    """A server in a process of its own, in the test's home."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tidemill", "server", "start", "--port", "0"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        found = re.search(r"http://\S+", self._process.stdout.readline())
        assert found, self._process.communicate()[1]
        self.url = found[0]

    def ask(self, path: str, **body: Any) -> Any:
        answer = httpx2.post(f"{self.url}/api/{path}", json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def runs(self) -> dict[str, str]:
        """The flow runs that it shows, with their states."""
        return {run["name"]: run["state_name"] for run in self.ask("flow_runs/filter")}

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.wait(120) == 0, self._process.communicate()[1]

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(params=["sqlite", "postgres"])
def environment(request: pytest.FixtureRequest, child_environment: Any) -> dict[str, str]:
    """Of the scripts and servers of a test: they share a database, and nothing else."""
    if request.param == "sqlite":
        return child_environment()
    return child_environment({"TIDEMILL_DATABASE_URL": request.getfixturevalue("postgres_url")})


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[[], Server]]:
    started: list[Server] = []

    def run() -> Server:
        started.append(Server(environment))
        return started[-1]

    yield run
    for server in started:
        server.close()


@pytest.fixture
def script(run_script: Any, environment: dict[str, str]) -> Callable[[str], None]:
    """Runs the script; its flow run is called `run-of-` and the name."""

    def run(name: str) -> None:
        done = run_script(SCRIPT, name, env=environment)
        assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr

    return run


def test_a_server_shows_what_was_run_before_it_was_there(script, start):
    script("before")
    server = start()
    assert server.runs() == {"run-of-before": "Completed"}
    (task_run,) = server.ask("task_runs/filter")
    assert (task_run["state_name"], task_run["name"].split("-")[0]) == ("Completed", "add_one")
    assert "adding to 1" in [log["message"] for log in server.ask("logs/filter")]


def test_a_server_shows_what_is_run_beside_it(script, start):
    server = start()
    assert server.runs() == {}
    script("beside")
    assert server.runs() == {"run-of-beside": "Completed"}


def test_scripts_run_before_during_and_after_a_server(script, start):
    script("before")
    server = start()
    script("beside")
    server.stop()
    script("after")
    assert start().runs() == dict.fromkeys(["run-of-before", "run-of-beside", "run-of-after"], "Completed")


def test_servers_come_and_go_while_a_script_runs(start, start_script, environment, tmp_path, wait_until):
    enough: Path = tmp_path / "enough"
    script = start_script(LONG_SCRIPT, str(enough), env=environment)
    for _ in range(2):
        server = start()
        wait_until(lambda server=server: server.runs() == {"long-run": "Running"})
        seen = server.ask("task_runs/count")
        wait_until(lambda server=server, seen=seen: server.ask("task_runs/count") > seen + 10)
        server.stop()
    enough.touch()
    steps = int(script.end())
    assert script.returncode == 0, script.told
    server = start()
    assert server.runs() == {"long-run": "Completed"}
    assert server.ask("task_runs/count") == steps


def test_servers_beside_each_other_show_the_same(script, start):
    first, second = start(), start()
    script("beside")
    assert first.runs() == second.runs() == {"run-of-beside": "Completed"}
