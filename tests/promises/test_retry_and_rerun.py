"""Promise 9, and promise 3 from a page: what somebody asks for over the API is executed by the command that is answered, by
nobody else."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

START = """
import os, sys
from pathlib import Path
from tidemill import flow, task
from neighbour import FACTOR

HERE = Path(__file__).parent

def say(*words):
    with open(HERE / "said", "a") as file:
        file.write(" ".join(map(str, words)) + "\\n")

@task
def load(day):
    say("load", day)
    return FACTOR

@task
def report(value, day):
    say("report", day)
    if not (HERE / "mended").exists():
        END
    return value
"""
FLOW = """
@flow(flow_run_name="nightly-{day}")
def nightly(day, upto: int = 1):
    return report(sum([load(day) for _ in range(upto)]), day)

if __name__ == "__main__":
    nightly("monday")
"""
FAIL = "raise ValueError('no data')"
KILL = "os.kill(os.getpid(), 9)"


class Place:
    """A server in a process of its own, and scripts, which share a home with it or, `remote`, record by its API."""

    def __init__(self, folder: Path, environment: dict[str, str], remote: bool) -> None:
        self.folder = folder
        self._elsewhere = folder / "elsewhere"
        self._elsewhere.mkdir()
        (folder / "neighbour.py").write_text("FACTOR = 10\n")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tidemill", "server", "start", "--port", "0"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdout
        found = re.search(r"http://\S+?(?=/?\s)", self._server.stdout.readline())
        assert found, self._server.communicate()[1]
        self.url = f"{found[0]}/api"
        self._remote = remote
        own = {"TIDEMILL_HOME": str(folder / "own"), "TIDEMILL_API_URL": self.url} if remote else {}
        self._environment = {**environment, **own}

    def close(self) -> None:
        self._server.kill()
        self._server.communicate()

    def run(self, source: str = FLOW, end: str = FAIL) -> dict[str, Any]:
        """Runs a script to its bad end; gives its flow run."""
        (self.folder / "script.py").write_text(START.replace("END", end) + source)
        done = self.start()
        assert done.returncode != 0 or (self.folder / "mended").exists(), done.stdout + done.stderr
        if self._remote:  # what a process that was killed has not sent, the next command sends
            self.execute("tidemill journal ship")
        [run] = self.post("flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"is_null_": True}}})
        return run

    def start(self) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(self.folder / "script.py")]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=120)

    def mend(self) -> None:
        (self.folder / "mended").touch()

    def post(self, path: str, body: Any = None, code: int | None = None) -> Any:
        answer = httpx2.post(f"{self.url}/{path}", json={} if body is None else body, timeout=60)
        assert answer.status_code == code if code else answer.is_success, answer.text
        return answer.json()

    def get(self, path: str) -> Any:
        answer = httpx2.get(f"{self.url}/{path}", timeout=60)
        assert answer.is_success, answer.text
        return answer.json()

    def state(self, run_id: str) -> str:
        return self.get(f"flow_runs/{run_id}")["state_name"]

    def task_run(self, run_id: str, name: str) -> dict[str, Any]:
        [found] = self.post(
            "task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}, "task_runs": {"name": {"like_": name}}}
        )
        return found

    def execute(self, command: str, code: int = 0) -> str:
        """Executes a command line as it was answered, in another folder."""
        program, *arguments = shlex.split(command)
        assert program == "tidemill"
        done = subprocess.run(
            [sys.executable, "-m", "tidemill", *arguments],
            cwd=self._elsewhere,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr

    @property
    def said(self) -> list[str]:
        """What was executed since this was last asked."""
        file = self.folder / "said"
        lines = file.read_text().splitlines() if file.exists() else []
        file.write_text("")
        return lines


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, child_environment: Callable[..., dict[str, str]]) -> Iterator[Place]:
    place = Place(tmp_path, child_environment(), remote=getattr(request, "param", "beside") == "remote")
    yield place
    place.close()


BOTH_WAYS = pytest.mark.parametrize("place", ["beside", "remote"], indirect=True)


@BOTH_WAYS
@pytest.mark.parametrize(("end", "was"), [(FAIL, "Failed"), (KILL, "Crashed")])
def test_a_run_that_ended_badly_is_retried(place: Place, end: str, was: str, wait_until: Callable[..., None]) -> None:
    run = place.run(end=end)
    wait_until(lambda: place.state(run["id"]) == was)
    assert place.said == ["load monday", "report monday"]
    answer = place.post(f"flow_runs/{run['id']}/retry", {"message": "the data is there now"})
    assert (answer["flow_run"]["state_name"], answer["flow_run"]["state"]["message"]) == (
        "AwaitingRetry",
        "the data is there now",
    )
    assert place.said == [], "the server executes nothing"
    place.mend()
    place.execute(answer["command"])
    assert place.state(run["id"]) == "Completed"
    assert place.said == ["report monday"]


def test_a_process_that_is_gone_does_not_hold_its_run(place: Place) -> None:
    run = place.run(end=KILL)  # perhaps the server has not noticed yet
    answer = place.post(f"flow_runs/{run['id']}/retry")
    assert answer["flow_run"]["state_name"] == "AwaitingRetry"
    place.mend()
    place.execute(answer["command"])
    assert place.state(run["id"]) == "Completed"


@BOTH_WAYS
def test_a_run_that_completed_is_executed_again_from_a_task_on(place: Place) -> None:
    place.mend()
    run = place.run()
    assert place.said == ["load monday", "report monday"]
    assert "from_task_run_id" in place.post(f"flow_runs/{run['id']}/retry", code=409)["detail"]
    chosen = place.task_run(run["id"], "report")
    answer = place.post(f"flow_runs/{run['id']}/retry", {"from_task_run_id": chosen["id"]})
    assert answer["flow_run"]["state_name"] == "AwaitingRetry"
    place.execute(answer["command"])
    assert (place.state(run["id"]), place.said) == ("Completed", ["report monday"])


def test_a_retried_run_has_all_its_own_retries_again(place: Place) -> None:
    run = place.run(FLOW.replace("@flow(", "@flow(retries=1, "))
    assert place.said == ["load monday", "report monday", "report monday"]
    answer = place.post(f"flow_runs/{run['id']}/retry")
    place.execute(answer["command"], code=1)
    assert (place.state(run["id"]), place.said) == ("Failed", ["report monday", "report monday"])


def test_a_cancelled_run_is_retried(place: Place) -> None:
    run = place.run()
    answer = place.post(f"flow_runs/{run['id']}/retry")
    place.post(f"flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLING"}})
    assert place.state(run["id"]) == "Cancelled"
    assert place.post(f"flow_runs/{run['id']}/retry")["command"] == answer["command"]
    place.mend()
    place.execute(answer["command"])
    assert place.state(run["id"]) == "Completed"


@BOTH_WAYS
def test_another_run_is_called_with_other_parameters(place: Place) -> None:
    run = place.run()
    place.mend()
    assert place.said == ["load monday", "report monday"]
    body = {"parameters": {"day": "tuesday", "upto": 2}, "name": "catching-up", "tags": ["late"]}
    answer = place.post(f"flow_runs/{run['id']}/rerun", body, code=201)
    other = answer["flow_run"]
    assert (other["state_type"], other["name"], other["tags"]) == ("SCHEDULED", "catching-up", ["late"])
    assert other["parameters"] == {"day": "tuesday", "upto": 2}
    place.execute(answer["command"])
    assert place.said == ["load tuesday", "load tuesday", "report tuesday"]
    assert (place.state(other["id"]), place.state(run["id"])) == ("Completed", "Failed")
    # Even while it had not begun it could be asked for as one that awaits its attempt.
    again = place.post(f"flow_runs/{other['id']}/rerun", {"parameters": {"upto": 1}}, code=201)
    retried = place.post(f"flow_runs/{again['flow_run']['id']}/retry")
    assert retried["flow_run"]["state_type"] == "SCHEDULED"
    place.execute(retried["command"])
    assert place.said == ["load tuesday", "report tuesday"]


METHOD = """
from dataclasses import dataclass
from datetime import date

@dataclass
class Shop:
    town: str

    @flow(flow_run_name="of-a-shop")
    def sell(self, since: date, *goods, factor: int = 1, **more):
        say(self.town, since.year, len(goods), factor, *more.items())
        return report(1, type(since).__name__)

if __name__ == "__main__":
    Shop("Ulm").sell(date(2026, 1, 1), {1, 2}, "tea", colour="red")
"""


@BOTH_WAYS
def test_what_json_cannot_say_stays_as_it_was_beside_what_is_changed(place: Place) -> None:
    run = place.run(METHOD)
    place.mend()
    assert place.said == ["Ulm 2026 2 1 ('colour', 'red')", "report date"]
    form = place.get(f"ui/flow_runs/{run['id']}/parameter_schema")
    assert (form["recorded"], form["values"]) == (True, run["parameters"])
    assert [(name, each.get("format")) for name, each in form["schema"]["properties"].items()] == [
        ("since", "date"),
        ("goods", None),
        ("factor", None),
        ("more", None),
    ]
    answer = place.post(f"flow_runs/{run['id']}/rerun", {"parameters": {**form["values"], "factor": 3}})
    place.execute(answer["command"])
    assert place.said == ["Ulm 2026 2 3 ('colour', 'red')", "report date"]
    second = answer["flow_run"]
    answer = place.post(f"flow_runs/{second['id']}/rerun", {"parameters": {"since": "2027-05-05", "more": {}}})
    place.execute(answer["command"])
    assert place.said == ["Ulm 2027 2 3", "report date"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"dya": "x"}, "dya: there is no such parameter"),
        ({"upto": "many"}, "upto: Input should be a valid integer"),
    ],
)
def test_parameters_that_do_not_fit_are_named(place: Place, given: dict[str, Any], told: str) -> None:
    run = place.run()
    answer = place.post(f"flow_runs/{run['id']}/rerun", {"parameters": given})
    assert told in place.execute(answer["command"], code=1)


ASYNC_WITH_SUBFLOW = """
import asyncio

@flow
async def inner(day):
    return report(load(day), day)

@flow
async def outer(day):
    return await inner(day)

if __name__ == "__main__":
    asyncio.run(outer("friday"))
"""


def test_a_subflow_run_is_retried_with_its_parent_and_repeated_by_itself(place: Place) -> None:
    run = place.run(ASYNC_WITH_SUBFLOW)
    [inner] = place.post("flow_runs/filter", {"flow_runs": {"parent_flow_run_id": {"any_": [run["id"]]}}})
    assert run["id"] in place.post(f"flow_runs/{inner['id']}/retry", code=409)["detail"]
    place.mend()
    assert place.said == ["load friday", "report friday"]
    chosen = place.task_run(inner["id"], "load")
    place.execute(place.post(f"flow_runs/{run['id']}/retry", {"from_task_run_id": chosen["id"]})["command"])
    assert (place.state(run["id"]), place.said) == ("Completed", ["load friday", "report friday"])
    answer = place.post(f"flow_runs/{inner['id']}/rerun")
    assert answer["flow_run"]["parent_flow_run_id"] is None
    place.execute(answer["command"])
    assert (place.state(answer["flow_run"]["id"]), place.said) == ("Completed", ["load friday", "report friday"])


def test_a_flow_of_an_imported_module_is_again_of_that_module(place: Place) -> None:
    (place.folder / "etl.py").write_text(START.replace("END", FAIL) + FLOW)
    (place.folder / "mended").touch()
    (place.folder / "script.py").write_text("import etl\netl.nightly('monday')\n")
    place.start()
    [run] = place.post("flow_runs/filter")
    other = place.post(f"flow_runs/{run['id']}/rerun")
    place.execute(other["command"])
    keys = [place.task_run(each, "load")["task_key"] for each in (run["id"], other["flow_run"]["id"])]
    assert keys == ["etl.load", "etl.load"]
