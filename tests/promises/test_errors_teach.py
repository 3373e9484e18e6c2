"""Promise 10. Errors teach: each says what happened, to which run or name, and what to do next."""

import inspect
import re

import pytest

import tidemill.exceptions
from tidemill import flow, get_run_logger, task
from tidemill.exceptions import (
    FailedRun,
    InvalidNameError,
    MissingContextError,
    ParameterTypeError,
    ReservedArgumentError,
    TidemillError,
    UnfinishedRun,
)
from tidemill.states import Failed, Running


def error_classes():
    members = vars(tidemill.exceptions).values()
    return [member for member in members if inspect.isclass(member) and issubclass(member, TidemillError)]


@pytest.mark.parametrize("error", error_classes(), ids=lambda error: error.__name__)
def test_every_error_is_in_the_tree_and_its_docstring_is_its_default_message(error):
    assert inspect.getdoc(error)
    assert str(error()) == inspect.getdoc(error)
    assert str(error("other words")) == "other words"
    assert error.__name__ in tidemill.exceptions.__doc__


def unknown_option():
    task(retrys=3)(print)


def forbidden_character():
    flow(name="a/b")(print)


def reserved_parameter():
    @task
    def fetch(wait_for):
        return wait_for


def no_run():
    get_run_logger()


def wrong_value():
    @flow
    def report(count: int):
        return count

    report("many")


def failed_by_hand():
    @flow
    def report():
        return Failed(message="the report is empty")

    report()


def not_finished():
    Running().result()


def name_without_parameter():
    @flow(flow_run_name="{town}")
    def report(city):
        return city

    report("ulm")


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (unknown_option, TypeError, ["retrys", "retries", "task"]),
        (forbidden_character, InvalidNameError, ["a/b", "/"]),
        (reserved_parameter, ReservedArgumentError, ["wait_for", "fetch"]),
        (no_run, MissingContextError, ["run logger", "inside a flow or task"]),
        (wrong_value, ParameterTypeError, ["report", "count", "integer"]),
        (failed_by_hand, FailedRun, ["the report is empty"]),
        (not_finished, UnfinishedRun, ["Running"]),
        (name_without_parameter, Exception, ["town", "city"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_error_names_what_is_wrong_and_what_to_do(wrong, error, words):
    with pytest.raises(error) as caught:
        wrong()
    told = str(caught.value)
    assert all(word in told for word in words), told


@pytest.mark.parametrize("command", ["flow-run", "task-run"])
def test_the_command_line_says_that_it_knows_no_such_run(cli, command):
    said = cli(command, "inspect", "no-such-run", code=1)
    assert "no-such-run" in said
    assert "Traceback" not in said
    assert f"tidemill {command} ls" in said


def test_the_command_line_says_which_runs_a_short_id_may_mean(run_script, cli):
    done = run_script(
        """
        from tidemill import flow

        @flow(flow_run_name="twin")
        def named():
            return 1

        named()
        named()
        """
    )
    assert done.returncode == 0, done.stderr
    said = cli("flow-run", "inspect", "twin", code=1)
    assert all(run["id"] in said for run in cli("flow-run", "ls", "--json"))


def test_an_unknown_command_suggests_the_right_one(cli):
    assert "flow-run" in cli("flow-rum", "ls", code=2)


def test_a_wrong_setting_is_named_with_what_it_may_be(run_script):
    done = run_script("from tidemill import flow\nflow(lambda: 1, name='x')()", env={"TIDEMILL_DURABILITY": "eternal"})
    last = done.stderr.rstrip().splitlines()[-1]
    assert done.returncode == 1
    assert all(word in last for word in ("TIDEMILL_DURABILITY", "eternal", "process", "power", "relaxed"))


def test_the_traceback_of_an_uncaught_error_leads_to_the_users_line(run_script):
    done = run_script(
        """
        from tidemill import flow, task

        @task
        def divide(x):
            return 1 / x

        @flow
        def parent():
            return divide(0)

        parent()
        """
    )
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("ZeroDivisionError: division by zero")
    shown = done.stderr[done.stderr.rindex("Traceback (most recent call last)") :]
    assert "return 1 / x" in shown
    assert "return divide(0)" in shown
    assert "During handling of the above exception" not in done.stderr


def test_the_log_tells_the_failure_once_for_each_run(run_script):
    done = run_script(
        """
        from tidemill import flow, task

        @task
        def divide(x):
            return 1 / x

        @flow
        def parent():
            return divide(0)

        parent(return_state=True)
        """
    )
    assert done.returncode == 0
    assert done.stderr.count("Encountered exception during execution:") == 2
    for block in done.stderr.split("Encountered exception during execution:")[1:]:
        files = re.findall(r'File "([^"]+)"', block)
        assert files
        assert all(re.search(r"script\.py$", file) for file in files), files
