"""`tidemill flow-run` and `tidemill flow`."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tidemill import flow

Command = Callable[..., Any]
Ids = Callable[[str], list[str]]

pytestmark = pytest.mark.usefixtures("runs")


def test_ls_shows_the_newest_first(tidemill: Command) -> None:
    answer = tidemill("flow-run", "ls")
    assert answer.code == 0
    assert answer.lines[0].split() == ["NAME", "FLOW", "STATE", "STARTED", "TOOK", "ID"]
    assert answer.first_words == ["twin", "twin", "bad-run", "step-1", "good-run"]
    assert answer.lines[3].split()[1:3] == ["broken", "Failed"]
    assert "\x1b" not in answer.out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--state", "failed"], ["bad-run"]),
        (["--state", "Failed", "--state", "Completed", "--limit", "2"], ["twin", "twin"]),
        (["--state-type", "FAILED"], ["bad-run"]),
        (["--state-type", "RUNNING"], []),
        (["--flow", "twin"], ["twin", "twin"]),
        (["--flow", "broken", "--flow", "etl"], ["bad-run", "good-run"]),
        (["--flow-name", "etl"], ["good-run"]),
        (["--name", "RUN"], ["bad-run", "good-run"]),
        (["--tag", "eu"], ["step-1", "good-run"]),
        (["--tag", "eu", "--tag", "nightly", "--flow", "etl"], ["good-run"]),
        (["--tag", "us"], []),
        (["--since", "1h", "--flow", "etl"], ["good-run"]),
        (["--before", "1h30m"], []),
        (["--since", "2001-01-01", "--before", "2001-01-02T00:00"], []),
        (["--limit", "1"], ["twin"]),
        (["-n", "2", "--offset", "2"], ["bad-run", "step-1"]),
        (["--limit", "0", "--offset", "4"], ["good-run"]),
    ],
)
def test_ls_narrows(tidemill: Command, options: list[str], expected: list[str]) -> None:
    answer = tidemill("flow-run", "ls", *options)
    assert answer.code == 0
    assert answer.first_words == expected
    if not expected:
        assert answer.out == ""
        assert answer.err == "There are no flow runs to show.\n"


@pytest.mark.parametrize("json", ["--json", "--output=json", "-ojson"])
def test_ls_gives_json_with_the_names_of_the_rest_api(tidemill: Command, json: str) -> None:
    [run] = tidemill("flow-runs", "ls", "--flow", "etl", json).json
    assert (run["name"], run["flow_name"], run["flow_version"]) == ("good-run", "etl", "7")
    assert (run["state_type"], run["state_name"], run["run_count"]) == ("COMPLETED", "Completed", 1)
    assert run["parameters"] == {"n": 1, "where": "here"}
    assert sorted(run["tags"]) == ["eu", "nightly"]
    assert run["state"]["data"]["type"] == "reference"
    assert "inline" not in run["state"]["data"]
    start, end = (datetime.fromisoformat(run[name]) for name in ("start_time", "end_time"))
    assert end - start == timedelta(seconds=run["total_run_time"])


def test_json_of_nothing_is_an_empty_list(tidemill: Command) -> None:
    answer = tidemill("flow-run", "ls", "--json", "--flow", "none")
    assert answer.json == []
    assert answer.err == ""


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--since", "2x"], "--since takes an age (30m, 2h, 3d, 1w) or a time"),
        (["--before", "tomorrow"], "not 'tomorrow'"),
        (["--limit", "-1"], "--limit must be 0 or more, not -1."),
        (["--offset", "-1"], "--offset must be 0 or more"),
    ],
)
def test_a_bad_option_is_explained(tidemill: Command, options: list[str], complaint: str) -> None:
    answer = tidemill("flow-run", "ls", *options)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("Error: ")
    assert complaint in answer.err


def test_inspect(tidemill: Command, ids_of: Ids) -> None:
    answer = tidemill("flow-run", "inspect", "good-run")
    assert answer.code == 0
    shown = {line[:14].strip(): line[14:] for line in answer.lines[:20] if line[:14].strip()}
    assert (shown["Flow run"], shown["Flow"], shown["Flow version"]) == ("good-run", "etl", "7")
    assert shown["ID"] == ids_of("good-run")[0]
    assert shown["State"] == "Completed()"
    assert shown["Attempts"] == "1"
    assert shown["Parameters"] == "n = 1"
    assert "where = 'here'" in answer.out
    states = answer.out.partition("\nStates\n")[2]
    assert [line.split()[2] for line in states.splitlines()[:3]] == ["Pending()", "Running()", "Completed()"]
    assert "Subflow runs\n  step-1  Completed  " in answer.out
    assert "Parent        good-run  " in tidemill("flow-run", "inspect", "step-1").out


def test_inspect_of_a_failed_run_shows_attempts_and_the_users_traceback(tidemill: Command) -> None:
    out = tidemill("flow-run", "inspect", "bad-run").out
    assert "Attempts      2" in out
    assert "Retries       1" in out
    assert "AwaitingRetry(" in out
    assert "Retrying(" in out
    assert 'raise ValueError("no good")' in out
    assert out.endswith("ValueError: no good\n")


def test_inspect_shortens_what_is_long(tidemill: Command) -> None:
    @flow(flow_run_name="wide")
    def wide(text: str) -> None:
        pass

    wide("x" * 5000)
    out = tidemill("flow-run", "inspect", "wide").out
    assert "... (5002 characters)" in out
    assert len(max(out.splitlines(), key=len)) < 600


def test_a_run_is_known_by_id_beginning_of_id_and_name(tidemill: Command, ids_of: Ids) -> None:
    [run_id] = ids_of("good-run")
    for name in ("good-run", run_id, run_id.upper(), run_id.replace("-", ""), run_id[:30]):
        assert tidemill("flow-run", "inspect", name, "--json").json["id"] == run_id


def test_an_ambiguous_name_lists_the_candidates(tidemill: Command, ids_of: Ids) -> None:
    answer = tidemill("flow-run", "inspect", "twin")
    assert (answer.code, answer.out) == (1, "")
    first, *candidates = answer.err.splitlines()
    assert first == "Error: 2 flow runs answer to 'twin'; name one by its id:"
    assert [line.split()[0] for line in candidates] == ids_of("twin")


@pytest.mark.parametrize("command", ["inspect", "logs", "delete"])
def test_an_unknown_run_says_what_to_do(tidemill: Command, command: str) -> None:
    answer = tidemill("flow-run", command, "nobody")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == "Error: There is no flow run 'nobody'. To see which there are: tidemill flow-run ls\n"


def test_logs_look_like_the_console(tidemill: Command) -> None:
    lines = tidemill("flow-run", "logs", "good-run").lines
    assert lines[0].endswith(" | INFO    | Flow run 'good-run' - Created flow run 'good-run' for flow 'etl'")
    [warning] = [line for line in lines if line.endswith("loading 1001")]
    assert " | WARNING | Task run 'load-" in warning
    assert any("| INFO    | Flow run 'good-run' - starting here" in line for line in lines)
    assert lines[-1].endswith("| INFO    | Flow run 'good-run' - Finished in state Completed()")
    datetime.fromisoformat(lines[0].partition(" | ")[0])


def test_logs_narrow(tidemill: Command) -> None:
    everything = tidemill("flow-run", "logs", "good-run").lines
    assert tidemill("flow-run", "logs", "good-run", "--reverse").lines == everything[::-1]
    assert tidemill("flow-run", "logs", "good-run", "--tail", "2").lines == everything[-2:]
    assert tidemill("flow-run", "logs", "good-run", "-t", "2", "-r").lines == everything[:-3:-1]
    assert tidemill("flow-run", "logs", "good-run", "--tail", "0").lines == []
    assert tidemill("flow-run", "logs", "good-run", "-n", "3", "--offset", "1").lines == everything[1:4]
    warnings = tidemill("flow-run", "logs", "good-run", "--level", "warning").lines
    assert warnings == [line for line in everything if "WARNING" in line]
    assert tidemill("flow-run", "logs", "good-run", "--level", "30").lines == warnings
    assert tidemill("flow-run", "logs", "good-run", "--level", "error").lines == []


def test_logs_as_json(tidemill: Command, ids_of: Ids) -> None:
    logs = tidemill("flow-run", "logs", "good-run", "--json", "--level", "WARNING").json
    assert [log["message"] for log in logs] == ["loading 1001", "loading 1002"]
    assert {log["flow_run_id"] for log in logs} == set(ids_of("good-run"))
    assert all(log["task_run_id"] and log["level"] == 30 for log in logs)


def test_following_a_run_that_has_ended_ends(tidemill: Command) -> None:
    everything = tidemill("flow-run", "logs", "good-run").lines
    assert sorted(tidemill("flow-run", "logs", "good-run", "-f").lines) == sorted(everything)
    assert tidemill("flow-run", "logs", "good-run", "-f", "--tail", "1").lines == everything[-1:]
    assert tidemill("flow-run", "logs", "good-run", "-f", "--tail", "0").lines == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--level", "loud"], "--level is one of NOTSET, DEBUG, INFO"),
        (["--tail", "-1"], "--tail must be 0 or more"),
        (["--follow", "--reverse"], "--follow shows lines as they come"),
        (["--follow", "--limit", "3"], "--follow shows lines as they come"),
    ],
)
def test_bad_options_of_logs(tidemill: Command, options: list[str], complaint: str) -> None:
    answer = tidemill("flow-run", "logs", "good-run", *options)
    assert answer.code == 1
    assert complaint in answer.err


def test_delete_takes_everything_of_a_run(tidemill: Command, ids_of: Ids) -> None:
    newest, oldest = ids_of("twin")
    answer = tidemill("flow-run", "delete", newest, "bad-run", "--yes")
    assert (answer.code, answer.out) == (0, "Deleted flow run 'twin'.\nDeleted flow run 'bad-run'.\n")
    assert ids_of("twin") == [oldest]
    assert tidemill("flow-run", "ls").first_words == ["twin", "step-1", "good-run"]
    assert tidemill("task-run", "ls", "--name", "refuse").out == ""


def test_delete_of_several_deletes_nothing_when_one_is_unknown(tidemill: Command, ids_of: Ids) -> None:
    assert tidemill("flow-run", "delete", "good-run", "nobody").code == 1
    assert len(ids_of("good-run")) == 1


def test_flows(tidemill: Command) -> None:
    assert tidemill("flow", "ls").first_words == ["twin", "broken", "step", "etl"]
    assert tidemill("flows", "ls", "--name", "t", "--limit", "2").first_words == ["twin", "step"]
    assert tidemill("flow", "ls", "--offset", "3").first_words == ["etl"]
    assert [flow["name"] for flow in tidemill("flow", "ls", "--json").json] == ["twin", "broken", "step", "etl"]
    assert tidemill("flow", "ls", "--tag", "none").err == "There are no flows to show.\n"


def test_the_database(tidemill: Command, home: Path, tmp_path: Path) -> None:
    assert tidemill("db", "path").out == f"{home}/tidemill.db\n"
    assert tidemill("db", "check").out == f"{home}/tidemill.db is sound.\n"
    copy = tmp_path / "copy" / "tidemill.db"
    copy.parent.mkdir()
    assert tidemill("db", "backup", str(copy)).code == 0
    again = tidemill("db", "backup", str(copy))
    assert again.code == 1
    assert "exists already" in again.err
    assert tidemill("flow-run", "delete", "good-run").code == 0
    assert copy.stat().st_size > 0
