"""Output that will not fit: lines of megabytes, terminals that know only ASCII, text that is no text."""

import logging

import pytest

from tidemill import flow, get_run_logger, tags, task
from tidemill.states import Completed

LONG = 10_000_000


def test_a_logged_line_of_ten_megabytes_is_cut_with_a_mark(recorded):
    @flow
    def talking():
        get_run_logger().info("start " + "x" * LONG)
        get_run_logger().info("after")
        return 1

    assert talking() == 1
    lines = [log["message"] for log in recorded.logs()]
    (cut,) = (line for line in lines if line.startswith("start "))
    assert len(cut) < LONG // 10
    assert not cut.endswith("xxxx"), "a mark says that something is missing"
    assert "after" in lines


def test_a_printed_line_of_ten_megabytes_is_cut_with_a_mark(recorded):
    @flow(log_prints=True)
    def talking():
        print("start " + "x" * LONG)
        return 1

    assert talking() == 1
    (cut,) = (log["message"] for log in recorded.logs() if log["message"].startswith("start "))
    assert len(cut) < LONG // 10


ODD_OUTPUT = """
import sys
from tidemill import flow, task, get_run_logger

@task(name="Zählwerk")
def talk():
    get_run_logger().info("said snow \\u2603")
    get_run_logger().info("said surrogate \\ud800 alone")
    get_run_logger().info("said zero \\x00 byte")

@flow(name="Wetter", log_prints=True)
def talking():
    print("said printed \\u2603")
    print("said printed \\ud800 alone")
    talk()
    return "fine"

print(talking())
"""


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "utf-8"},
        {"PYTHONIOENCODING": "ascii:strict", "LC_ALL": "C", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii", "TIDEMILL_LOGGING_FORMAT": "json"},
    ],
    ids=lambda env: " ".join(env.values()),
)
def test_a_terminal_that_cannot_show_it_stops_nothing_and_the_record_is_right(run_script, recorded, env):
    done = run_script(ODD_OUTPUT, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "fine\n"
    assert "Logging error" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "said snow" in done.stderr
    messages = [log["message"] for log in recorded.logs()]
    assert "said snow \u2603" in messages
    assert "said printed \u2603" in messages
    assert sum("alone" in message for message in messages) == 2
    assert any(message.startswith("said zero") and message.endswith("byte") for message in messages)


@pytest.mark.parametrize("text", ["\ud800 alone", "zero\x00byte", "line\nline", "\x1b[31mred"], ids=ascii)
def test_text_that_is_no_text_goes_everywhere_and_stops_nothing(recorded, text):
    @task(tags=[text], description=text, version=text, task_run_name=text)
    def below():
        return text

    @flow(description=text, version=text, flow_run_name=text)
    def talking(parameter):
        assert below() == text
        with tags(text):
            assert below(return_state=True).result() == text
        return Completed(message=text, data=text)

    assert talking(text) == text
    assert recorded.flow_run()["state_type"] == "COMPLETED"
    assert [run["state_type"] for run in recorded.task_runs()] == ["COMPLETED"] * 2


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_stream_stops_nothing(run_script, recorded, stream):
    done = run_script(
        f"""
        import os, sys
        from tidemill import flow, get_run_logger

        @flow(log_prints=True)
        def talking():
            sys.{stream}.close()
            print("said printed")
            get_run_logger().info("said logged")
            return "fine"

        assert talking() == "fine"
        os._exit(0)
        """
    )
    assert done.returncode == 0, done.stderr
    assert {"said printed", "said logged"} <= {log["message"] for log in recorded.logs()}


def test_no_stderr_at_all_stops_nothing(run_script, recorded):
    done = run_script(
        """
        import sys
        sys.stderr = None
        from tidemill import flow, get_run_logger

        @flow
        def talking():
            get_run_logger().info("said logged")
            return "fine"

        print(talking())
        """
    )
    assert (done.returncode, done.stdout) == (0, "fine\n")
    assert "said logged" in {log["message"] for log in recorded.logs()}


@pytest.mark.parametrize(
    "arguments",
    [("said %s and %s", "one"), ("said %d", "word"), ("said %(name)s", {"other": 1})],
    ids=["too few", "wrong type", "missing key"],
)
def test_a_log_call_with_wrong_arguments_stops_nothing(recorded, arguments):
    @flow
    def talking():
        logger = get_run_logger()
        logger.info(*arguments)
        logger.info("said after")
        return 1

    before, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        assert talking() == 1
    finally:
        logging.raiseExceptions = before
    assert "said after" in {log["message"] for log in recorded.logs()}


def test_a_message_that_is_no_text_is_logged_as_its_text(recorded):
    @flow
    def talking():
        get_run_logger().info(["said", 1])
        get_run_logger().info(None)
        return 1

    talking()
    assert {"['said', 1]", "None"} <= {log["message"] for log in recorded.logs()}
