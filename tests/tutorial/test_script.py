"""The tutorial as a script: its lines, its values, and what is recorded of them."""

import os
import re
import subprocess
import sys

import pytest

import tidemill


def test_2_version(cli):
    asked = subprocess.run(["git", "-C", os.path.dirname(tidemill.__file__), "rev-parse", "HEAD"], capture_output=True)
    or_unknown = "|unknown" if asked.returncode else ""
    lines = cli("version").splitlines()
    expected = [
        r"Version:             \d+\.\d+\.\d+\S*",
        r"API version:         \d+\.\d+\.\d+",
        r"Python version:      \d+\.\d+\.\d+",
        rf"Git commit:          ([0-9a-f]{{8}}{or_unknown})",
        rf"Built:               ((Mon|Tue|Wed|Thu|Fri|Sat|Sun), [A-Z][a-z]{{2}} \d\d, \d{{4}} \d\d:\d\d [AP]M{or_unknown})",
        rf"OS/Arch:             {sys.platform}/\S+",
        r"Profile:             default",
        r"Server type:         ephemeral",
        r"Server:",
        r"  Database:          sqlite",
        r"  SQLite version:    3\.\d+\.\d+",
    ]
    assert len(lines) == len(expected), lines
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(pattern, line.rstrip()), line


def test_2_version_with_a_server(cli):
    lines = cli("version", env={"TIDEMILL_API_URL": "http://127.0.0.1:4200/api"}).splitlines()
    assert "Server type:         hosted" in lines
    assert not any(line.startswith("Server:") for line in lines)


def test_3_a_first_flow(run_script, programs):
    done = run_script(
        programs.add_one
        + """
@flow
def my_flow():
    result = add_one(1)
    print(repr(result))

my_flow()
"""
    )
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


def test_3_a_flow_that_returns_a_state(run_script, cli, programs, comparable):
    done = run_script(
        programs.add_one
        + """
@flow
def my_add_one_flow():
    state = add_one(1, return_state=True)
    print(type(state).__name__)
    return state

state = my_add_one_flow()
print(state.result())
"""
    )
    assert done.stdout.splitlines() == ["State", "2"], done.stderr
    assert comparable(done.stderr) == [
        "INFO | tidemill.engine - Created flow run 'flow-run-1' for flow 'my-add-one-flow'",
        "INFO | Flow run 'flow-run-1' - Created task run 'add_one-3c3112ef-0' for task 'add_one'",
        "INFO | Flow run 'flow-run-1' - Executing 'add_one-3c3112ef-0' immediately...",
        "INFO | Task run 'add_one-3c3112ef-0' - Finished in state Completed()",
        "INFO | Flow run 'flow-run-1' - Finished in state Completed('All states completed.')",
    ]
    (run,) = cli("flow-run", "ls", "--json")
    assert run["state_type"] == "COMPLETED"
    assert run["state"]["message"] == "All states completed."


def test_4_flows_return_states(run_script, programs, comparable):
    done = run_script(
        programs.favorite_function
        + """
print(repr(state))
print(state.result())
"""
    )
    assert done.stdout.splitlines() == [
        "This function doesn't do much",
        "Completed(message=None, type=COMPLETED, result=42)",
        "42",
    ]
    assert comparable(done.stderr) == [
        "INFO | tidemill.engine - Created flow run 'flow-run-1' for flow 'my-favorite-function-flow'",
        "INFO | Flow run 'flow-run-1' - Created subflow run 'flow-run-2' for flow 'my-favorite-function'",
        "INFO | Flow run 'flow-run-2' - Finished in state Completed()",
        "INFO | Flow run 'flow-run-1' - Finished in state Completed('All states completed.')",
    ]


@pytest.mark.parametrize("call", ["api_flow(sys.argv[1])", "api_flow(url=sys.argv[1])"])
def test_5_parameters(run_script, cli, cat_facts, call, programs, comparable, fact):
    done = run_script(
        programs.api_flow + f"\nstate = {call}\nprint(repr(state))\nprint(state.result() == {fact!r})\n", cat_facts
    )
    assert done.stdout.splitlines() == ["200", f"Completed(message=None, type=COMPLETED, result={fact!r})", "True"]
    assert comparable(done.stderr) == [
        "INFO | tidemill.engine - Created flow run 'flow-run-1' for flow 'api-flow'",
        "INFO | Flow run 'flow-run-1' - Created task run 'call_api-ded10bed-0' for task 'call_api'",
        "INFO | Flow run 'flow-run-1' - Executing 'call_api-ded10bed-0' immediately...",
        "INFO | Task run 'call_api-ded10bed-0' - Finished in state Completed()",
        "INFO | Flow run 'flow-run-1' - Finished in state Completed('All states completed.')",
    ]
    (run,) = cli("flow-run", "ls", "--json")
    assert run["parameters"] == {"url": cat_facts}


def test_6_errors(run_script, cli, programs, comparable):
    done = run_script(programs.api_flow_that_raises + '\nstate_bad = api_flow("foo")\nprint("never reached")\n')
    assert (done.returncode, done.stdout) == (1, "")
    assert re.match(r"requests\.exceptions\.MissingSchema: Invalid URL 'foo': ", done.stderr.rstrip().splitlines()[-1])
    lines = comparable(done.stderr)
    assert lines[:5] == [
        "INFO | tidemill.engine - Created flow run 'flow-run-1' for flow 'api-flow'",
        "INFO | Flow run 'flow-run-1' - Created task run 'call_api-ded10bed-0' for task 'call_api'",
        "INFO | Flow run 'flow-run-1' - Executing 'call_api-ded10bed-0' immediately...",
        "ERROR | Task run 'call_api-ded10bed-0' - Encountered exception during execution:",
        "Traceback (most recent call last):",
    ]
    ended = lines.index(
        "ERROR | Task run 'call_api-ded10bed-0' - Finished in state Failed('Task run encountered an exception.')"
    )
    logged = lines[5:ended]
    assert "in call_api" in logged[0], "the traceback begins at the user's frame"
    assert not [line for line in logged if "/tidemill/" in line], "none of our frames"
    assert logged[-1].startswith("requests.exceptions.MissingSchema: Invalid URL 'foo'")
    assert lines[ended + 1] == "ERROR | Flow run 'flow-run-1' - Encountered exception during execution:"
    assert "ERROR | Flow run 'flow-run-1' - Finished in state Failed('Flow run encountered an exception.')" in lines[ended:]
    (run,), (task_run,) = cli("flow-run", "ls", "--json"), cli("task-run", "ls", "--json")
    assert (run["state_type"], run["state"]["message"]) == ("FAILED", "Flow run encountered an exception.")
    assert (task_run["state_type"], task_run["state"]["message"]) == ("FAILED", "Task run encountered an exception.")


def test_6_errors_as_states(run_script, cli, programs):
    done = run_script(
        programs.api_flow_that_raises
        + """
state = api_flow("foo", return_state=True)
print(state)
try:
    state.result()
except requests.exceptions.MissingSchema as error:
    print("raised", type(error).__name__)
print("given", type(state.result(raise_on_failure=False)).__name__)
"""
    )
    assert done.stdout.splitlines() == [
        "Failed('Flow run encountered an exception.')",
        "raised MissingSchema",
        "given MissingSchema",
    ], done.stderr
    (run,) = cli("flow-run", "ls", "--json")
    assert run["state_type"] == "FAILED"


def test_7_names(run_script, cat_facts, programs, comparable):
    source = programs.api_flow.replace("@task", '@task(name="cat-url")').replace("@flow", '@flow(name="cat")')
    done = run_script(source.replace("    return fact_json", "    return") + "\napi_flow(sys.argv[1])\n", cat_facts)
    assert comparable(done.stderr) == [
        "INFO | tidemill.engine - Created flow run 'flow-run-1' for flow 'cat'",
        "INFO | Flow run 'flow-run-1' - Created task run 'cat-url-ded10bed-0' for task 'cat-url'",
        "INFO | Flow run 'flow-run-1' - Executing 'cat-url-ded10bed-0' immediately...",
        "INFO | Task run 'cat-url-ded10bed-0' - Finished in state Completed()",
        "INFO | Flow run 'flow-run-1' - Finished in state Completed('All states completed.')",
    ]


def test_8_data_between_tasks(run_script, cli, cat_facts, programs, comparable, fact):
    done = run_script(programs.two_tasks + "\nstate = api_flow(sys.argv[1])\nprint(state)\n", cat_facts)
    assert done.stdout.splitlines() == [
        "200",
        fact["fact"],
        f"[Completed(message=None, type=COMPLETED, result={fact!r}), Completed(message=None, type=COMPLETED, result=None)]",
    ], done.stderr
    assert comparable(done.stderr) == [
        "INFO | tidemill.engine - Created flow run 'flow-run-1' for flow 'api-flow'",
        "INFO | Flow run 'flow-run-1' - Created task run 'call_api-ded10bed-0' for task 'call_api'",
        "INFO | Flow run 'flow-run-1' - Executing 'call_api-ded10bed-0' immediately...",
        "INFO | Task run 'call_api-ded10bed-0' - Finished in state Completed()",
        "INFO | Flow run 'flow-run-1' - Created task run 'parse_fact-6803447a-0' for task 'parse_fact'",
        "INFO | Flow run 'flow-run-1' - Executing 'parse_fact-6803447a-0' immediately...",
        "INFO | Task run 'parse_fact-6803447a-0' - Finished in state Completed()",
        "INFO | Flow run 'flow-run-1' - Finished in state Completed('All states completed.')",
    ]
    runs = {run["name"]: run for run in cli("task-run", "ls", "--json")}
    assert runs["parse_fact-6803447a-0"]["task_inputs"]["response"] == [
        {"input_type": "task_run", "id": runs["call_api-ded10bed-0"]["id"]}
    ]


def test_9_flows_in_flows(run_script, cli, comparable):
    done = run_script(
        """
        from tidemill import flow

        @flow
        def common_flow(config: dict):
            print("I am a subgraph that shows up in lots of places!")
            intermediate_result = 42
            return intermediate_result

        @flow
        def main_flow():
            data = common_flow(config={})

        main_flow()
        """
    )
    assert done.stdout == "I am a subgraph that shows up in lots of places!\n", done.stderr
    assert comparable(done.stderr) == [
        "INFO | tidemill.engine - Created flow run 'flow-run-1' for flow 'main-flow'",
        "INFO | Flow run 'flow-run-1' - Created subflow run 'flow-run-2' for flow 'common-flow'",
        "INFO | Flow run 'flow-run-2' - Finished in state Completed()",
        "INFO | Flow run 'flow-run-1' - Finished in state Completed('All states completed.')",
    ]
    runs = {run["flow_name"]: run for run in cli("flow-run", "ls", "--json")}
    below = cli("flow-run", "inspect", runs["common-flow"]["name"], "--json")
    assert below["id"] == runs["common-flow"]["id"]
    assert below["parameters"] == {"config": {}}
    link = cli("task-run", "inspect", below["parent_task_run_id"], "--json")
    assert link["flow_run_id"] == runs["main-flow"]["id"]


def test_11_async(run_script, cat_facts, programs, comparable, fact):
    done = run_script(programs.async_flow + "\nprint(asyncio.run(async_flow(sys.argv[1])))\n", cat_facts)
    assert done.stdout.splitlines() == ["200", repr(fact)], done.stderr
    assert comparable(done.stderr) == [
        "INFO | tidemill.engine - Created flow run 'flow-run-1' for flow 'async-flow'",
        "INFO | Flow run 'flow-run-1' - Created task run 'call_api-ded10bed-0' for task 'call_api'",
        "INFO | Flow run 'flow-run-1' - Executing 'call_api-ded10bed-0' immediately...",
        "INFO | Task run 'call_api-ded10bed-0' - Finished in state Completed()",
        "INFO | Flow run 'flow-run-1' - Finished in state Completed()",
    ]


@pytest.mark.parametrize("decorator", ["flow", "task"])
def test_12_the_same_name_twice(run_script, decorator):
    done = run_script(
        f"""
        from tidemill import flow, task

        @{decorator}
        def fetch():
            return 1

        @{decorator}(name="fetch")
        def another():
            return 2
        """
    )
    assert done.returncode == 0
    assert done.stderr.count("UserWarning") == 1
    assert "'fetch'" in done.stderr
    assert f"@{decorator}(name='my_unique_name', ...)" in done.stderr


def test_12_different_names_do_not_warn(run_script, programs):
    done = run_script(programs.add_one + "\n@flow(name='add_one')\ndef other(): return 1\n")
    assert (done.returncode, done.stderr) == (0, "")
