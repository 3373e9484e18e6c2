"""get_run_logger() and log_prints: what a run says is recorded with it, and shown as its words."""

import contextvars
import logging
import re
import threading

import pytest

from tidemill import flow, get_run_logger, task
from tidemill.exceptions import MissingContextError
from tidemill.runtime import task_run


def said(recorded, **fields):
    """The recorded lines that are not the engine's own, with the fields asked for."""
    return [log for log in recorded.logs(**fields) if log["message"].startswith("said ")]


def test_the_flow_runs_logger(colour, recorded, capsys):
    @flow
    @colour.paint
    async def talking():
        logger = get_run_logger()
        logger.info("said %s and %d", "this", 7)
        logger.warning("said a warning")
        return 1

    colour.run(talking)
    run = recorded.flow_run()
    lines = said(recorded)
    assert [(line["message"], line["level"]) for line in lines] == [
        ("said this and 7", logging.INFO),
        ("said a warning", logging.WARNING),
    ]
    assert {line["flow_run_id"] for line in lines} == {run["id"]}
    assert {line["task_run_id"] for line in lines} == {None}
    console = capsys.readouterr().err
    assert re.search(rf"^\d\d:\d\d:\d\d\.\d{{3}} \| INFO    \| Flow run '{run['name']}' - said this", console, re.M)
    assert re.search(rf"^\d\d:\d\d:\d\d\.\d{{3}} \| WARNING \| Flow run '{run['name']}' - said a w", console, re.M)


def test_the_task_runs_logger(colour, recorded, capsys):
    @task
    @colour.paint
    async def talking():
        get_run_logger().error("said something")
        return task_run.name

    @flow
    @colour.paint
    async def parent():
        return await colour.call(talking)

    name = colour.run(parent)
    (line,) = said(recorded)
    assert line["task_run_id"] == recorded.task_run()["id"]
    assert line["flow_run_id"] == recorded.flow_run()["id"]
    assert line["level"] == logging.ERROR
    assert f" | ERROR   | Task run '{name}' - said something" in capsys.readouterr().err


def test_a_task_outside_a_flow_has_a_logger_too(colour, recorded):
    @task
    @colour.paint
    async def talking():
        get_run_logger().info("said alone")

    colour.run(talking)
    (line,) = said(recorded, task_run=recorded.task_run())
    assert line["flow_run_id"] is None


def test_below_the_level_nothing_is_recorded(colour, recorded):
    @flow
    @colour.paint
    async def talking():
        get_run_logger().debug("said too quietly")

    colour.run(talking)
    assert said(recorded) == []


def test_an_exception_is_recorded_with_its_traceback(colour, recorded):
    @flow
    @colour.paint
    async def talking():
        try:
            raise LookupError("gone")
        except LookupError:
            get_run_logger().exception("said with a traceback")
        return 1

    colour.run(talking)
    (line,) = said(recorded)
    assert "LookupError: gone" in line["message"]
    assert "Traceback (most recent call last):" in line["message"]


def test_lines_are_kept_in_order(colour, recorded):
    @flow
    @colour.paint
    async def talking():
        for n in range(300):
            get_run_logger().info("said %d", n)

    colour.run(talking)
    assert [line["message"] for line in said(recorded)] == [f"said {n}" for n in range(300)]


def test_outside_a_run_there_is_no_logger_and_the_error_says_what_to_do():
    with pytest.raises(MissingContextError, match="inside a flow or task"):
        get_run_logger()


def test_a_thread_of_the_run_logs_to_the_run(recorded):
    @flow
    def parent():
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(lambda: get_run_logger().info("said from a thread"),))
        thread.start()
        thread.join()
        return 1

    parent()
    assert [line["message"] for line in said(recorded)] == ["said from a thread"]


def test_a_thread_without_context_logs_to_the_only_flow_run_there_is(recorded):
    @flow
    def parent():
        thread = threading.Thread(target=lambda: get_run_logger().info("said from a thread"))
        thread.start()
        thread.join()
        return 1

    parent()
    (line,) = said(recorded)
    assert line["flow_run_id"] == recorded.flow_run()["id"]


def test_a_logger_taken_along_still_works_in_a_thread_without_context(recorded):
    @flow
    def parent():
        logger = get_run_logger()
        thread = threading.Thread(target=lambda: logger.info("said from elsewhere"))
        thread.start()
        thread.join()
        return 1

    parent()
    (line,) = said(recorded)
    assert line["flow_run_id"] == recorded.flow_run()["id"]


@pytest.mark.parametrize("decorator", [flow, task], ids=["flow", "task"])
def test_print_goes_to_stdout_untouched_without_log_prints(colour, decorator, capsys, recorded):
    @decorator
    @colour.paint
    async def printing():
        print("said plainly")

    colour.run(printing)
    assert capsys.readouterr().out == "said plainly\n"


def test_log_prints_records_what_is_printed(colour, capsys, recorded):
    @task
    @colour.paint
    async def below():
        print("said", "below", sep=" ")

    @flow(log_prints=True)
    @colour.paint
    async def printing():
        print("said above")
        print("said", 1, end="")
        await colour.call(below)

    colour.run(printing)
    out, err = capsys.readouterr()
    assert out == ""
    assert "INFO    | Flow run" in err
    lines = {line["message"]: line for line in said(recorded)}
    assert list(lines) == ["said above", "said 1", "said below"]
    assert lines["said above"]["task_run_id"] is None
    assert lines["said below"]["task_run_id"] == recorded.task_run()["id"]


def test_a_task_can_keep_its_prints_to_itself(colour, capsys, recorded):
    @task(log_prints=False)
    @colour.paint
    async def below():
        print("said below")

    @flow(log_prints=True)
    @colour.paint
    async def printing():
        await colour.call(below)
        return 1

    colour.run(printing)
    assert capsys.readouterr().out == "said below\n"
    assert said(recorded) == []


def test_print_to_a_file_is_not_ours(colour, tmp_path, recorded):
    path = tmp_path / "printed.txt"

    @flow(log_prints=True)
    @colour.paint
    async def printing():
        with path.open("w") as file:
            print("said to a file", file=file)
        return 1

    colour.run(printing)
    assert path.read_text() == "said to a file\n"
    assert said(recorded) == []


def test_after_the_run_print_is_print_again(colour, capsys):
    @flow(log_prints=True)
    @colour.paint
    async def printing():
        print("said inside")

    colour.run(printing)
    print("said outside")
    assert capsys.readouterr().out == "said outside\n"
