"""The field's own client, unmodified, with its API at our server: it gets on there as with its own.

What its flows print, how they exit, and what the API shows of them afterwards is what its own server made of them, which
`scripts/record_expected.py` has recorded in `expected.json`.
"""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import httpx2
import pytest

SCRIPTS = Path(__file__).parent / "scripts"
EXPECTED = json.loads(Path(__file__).with_name("expected.json").read_text(encoding="utf-8"))
PATIENCE = 280.0

pytestmark = [pytest.mark.program, pytest.mark.slow]


@pytest.fixture
def ours(start_server, child_environment):
    return start_server([sys.executable, "-m", "tidemill", "server", "start"], child_environment(), "ours")


@pytest.fixture
def run_field(field_python, tmp_path):
    """Runs one of the scripts against an API, to its end, in a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "TIDEMILL_", "PYTHONPATH"))}

    def run(api, script, *args):
        return subprocess.run(
            [str(field_python), str(SCRIPTS / script), *args],
            env={
                **kept,
                "PREFECT_HOME": str(tmp_path / "field"),
                "PREFECT_API_URL": api,
                "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            },
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    return run


def in_our_words(run):
    """What differs on purpose: a flow run that is tried again says so, and who goes on after a pause is in no new attempt."""
    steps = list(pairwise([None, *run["states"]]))
    return {
        **run,
        "run_count": run["run_count"] - steps.count(("Paused", "Running")),
        "states": ["Retrying" if step == ("AwaitingRetry", "Running") else step[1] for step in steps],
    }


def test_the_fields_client_gets_on_with_our_server_as_with_its_own(ours, run_field):
    done = run_field(ours, "field_flows.py")
    assert done.stdout.splitlines() == EXPECTED["said"], done.stderr
    assert done.returncode == 0, done.stderr
    for complaint in ("Unable to connect", "EventsWorker", "Error logging to API"):
        assert complaint not in done.stderr

    expected = EXPECTED["shown"]
    task_runs = sum(count for run in expected["flow_runs"] for count, _ in run["task_runs"])
    told = run_field(ours, "field_report.py", str(task_runs))
    assert told.returncode == 0, told.stderr
    shown = json.loads(told.stdout)
    runs, expected_runs = shown.pop("flow_runs"), [in_our_words(run) for run in expected["flow_runs"]]
    assert [(run["flow"], run["state"]) for run in runs] == [(run["flow"], run["state"]) for run in expected_runs]
    for run, expected_run in zip(runs, expected_runs, strict=True):
        assert run == expected_run
    assert shown == {name: value for name, value in expected.items() if name != "flow_runs"}


def test_what_our_api_shows_of_its_runs(ours, run_field, wait_until):
    """The same without its server: a map, retries, and the lines of a flow, as anybody reads them."""
    done = run_field(ours, "field_flows.py", "map", "task retries", "plain")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["map: 5050", "task retries: 3", "plain: 4"]

    def shown(path, **body):
        return httpx2.post(f"{ours}/{path}/filter", json=body, timeout=60).raise_for_status().json()

    runs = {flow["name"]: shown("flow_runs", flows={"id": {"any_": [flow["id"]]}}) for flow in shown("flows")}
    assert {name: [run["state_name"] for run in found] for name, found in runs.items()} == {
        "mapped": ["Completed"],
        "task-retries": ["Completed"],
        "plain": ["Completed"],
    }

    def task_runs(name):
        return shown("task_runs", flow_runs={"id": {"any_": [runs[name][0]["id"]]}})

    wait_until(lambda: [run["state_name"] for run in task_runs("mapped")] == ["Completed"] * 100)
    wait_until(lambda: [run["state_name"] for run in task_runs("task-retries")] == ["Completed"])
    [flaky] = task_runs("task-retries")
    states = httpx2.get(f"{ours}/task_run_states", params={"task_run_id": flaky["id"]}).raise_for_status().json()
    assert flaky["run_count"] == 3
    assert [state["name"] for state in states] == [
        "Pending",
        "Running",
        "AwaitingRetry",
        "Retrying",
        "AwaitingRetry",
        "Retrying",
        "Completed",
    ]
    lines = [line["message"] for line in shown("logs", logs={"flow_run_id": {"any_": [runs["plain"][0]["id"]]}})]
    assert "Beginning with 1" in lines
    assert "Doubling 2" in lines


def test_a_flow_that_fails_ends_its_script_so(ours, run_field):
    failed = run_field(ours, "field_flows.py", "failing")
    assert failed.returncode == 1
    assert failed.stderr.rstrip().endswith("RuntimeError: it is broken")


def test_its_lines_are_told_live(ours, run_field):
    watched = run_field(ours, "field_flows.py", "watching logs")
    assert watched.returncode == 0, watched.stderr
    assert watched.stdout == "watching logs: 'Beginning with 3'\n"
