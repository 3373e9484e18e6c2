"""`tidemill task-run`."""

from collections.abc import Callable
from typing import Any

import pytest

from tidemill import flow, task
from tidemill.caching import INPUTS

Command = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("runs")


def kinds(answer: Any) -> list[str]:
    return [name.partition("-")[0] for name in answer.first_words]


def test_ls_of_a_flow_run(tidemill: Command) -> None:
    answer = tidemill("task-run", "ls", "--flow-run", "good-run")
    assert answer.lines[0].split() == ["NAME", "STATE", "STARTED", "TOOK", "TRIES", "ID"]
    assert kinds(answer) == ["load", "load", "step"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--state", "failed"], ["refuse"]),
        (["--state-type", "FAILED", "--limit", "1"], ["refuse"]),
        (["--flow", "twin"], ["load", "load"]),
        (["--name", "REFUSE"], ["refuse"]),
        (["--tag", "io", "--flow-run", "good-run"], ["load", "load"]),
        (["--flow-run", "bad-run", "--name", "load", "--since", "1d"], ["load"]),
        (["--before", "1w"], []),
        (["--flow-run", "good-run", "--offset", "2"], ["step"]),
    ],
)
def test_ls_narrows(tidemill: Command, options: list[str], expected: list[str]) -> None:
    answer = tidemill("task-run", "ls", *options)
    assert answer.code == 0
    assert kinds(answer) == expected


def test_ls_of_an_unknown_flow_run(tidemill: Command) -> None:
    answer = tidemill("task-run", "ls", "--flow-run", "nobody")
    assert answer.code == 1
    assert "There is no flow run 'nobody'" in answer.err


def test_json_has_the_names_of_the_rest_api(tidemill: Command) -> None:
    second, first, _ = tidemill("task-runs", "ls", "--flow-run", "good-run", "--json").json
    assert (first["state_type"], first["run_count"], first["flow_run_run_count"]) == ("COMPLETED", 1, 1)
    assert "io" in first["tags"]
    assert second["task_inputs"] == {"n": [{"input_type": "task_run", "id": first["id"]}]}
    assert second["state"]["state_details"]["task_run_id"] == second["id"]


def test_inspect(tidemill: Command) -> None:
    second, first, _ = tidemill("task-run", "ls", "--flow-run", "good-run", "--json").json
    answer = tidemill("task-run", "inspect", second["name"], "--flow-run", "good-run")
    assert answer.code == 0
    assert f"ID        {second['id']}" in answer.out
    assert "Flow run  good-run  " in answer.out
    assert f"Inputs    n from task run {first['id']}" in answer.out
    states = answer.out.partition("\nStates\n")[2].splitlines()
    assert [line.split()[2] for line in states] == ["Pending()", "Running()", "Completed()"]
    assert tidemill("task-run", "inspect", second["id"], "--json").json == second


def test_inspect_of_a_failed_task_shows_the_users_traceback(tidemill: Command) -> None:
    [failed] = tidemill("task-run", "ls", "--name", "refuse", "--json").json
    out = tidemill("task-run", "inspect", failed["id"]).out
    assert "Failed('Task run encountered an exception.')" in out
    assert out.endswith("ValueError: no good\n")


def test_a_name_that_several_flow_runs_have_is_ambiguous(tidemill: Command) -> None:
    name = tidemill("task-run", "ls", "--flow", "twin", "--json").json[0]["name"]
    answer = tidemill("task-run", "inspect", name)
    assert answer.code == 1
    assert f"task runs answer to '{name}'; name one by its id:" in answer.err
    assert "of flow run " in answer.err


def test_an_unknown_task_run_says_what_to_do(tidemill: Command) -> None:
    answer = tidemill("task-run", "inspect", "nobody")
    assert answer.err == "Error: There is no task run 'nobody'. To see which there are: tidemill task-run ls\n"
    answer = tidemill("task-run", "inspect", "nobody", "--flow-run", "good-run")
    assert answer.code == 1
    assert answer.err.endswith("in flow run 'good-run'. To see which there are: tidemill task-run ls --flow-run good-run\n")


class TestWhy:
    @pytest.fixture
    def ids(self, tidemill: Command) -> list[str]:
        """A task run that misses, one that hits, and one that misses by its second input."""

        @task(cache_policy=INPUTS)
        def add(x: int, y: int) -> int:
            return x + y

        @flow
        def adding() -> None:
            for y in (1, 1, 2):
                add(5, y)

        adding()
        return [run["id"] for run in reversed(tidemill("task-run", "ls", "--flow", "adding", "--json").json)]

    def test_a_hit_and_two_misses(self, tidemill: Command, ids: list[str]) -> None:
        missed, hit, other = (tidemill("task-run", "why", id) for id in ids)
        assert missed.out == "It missed: no earlier run has its key.\n"
        assert hit.out.startswith("It hit: run 'add-")
        assert other.out.startswith("It missed: no earlier run has its key. The closest, run 'add-")
        assert other.out.endswith("differs in input 'y'.\n")

    def test_a_task_without_a_policy(self, tidemill: Command) -> None:
        [run] = tidemill("task-run", "ls", "--name", "refuse", "--json").json
        answer = tidemill("task-run", "why", run["id"])
        assert answer.code == 0
        assert answer.out.startswith("It has no cache key, so it was executed")
