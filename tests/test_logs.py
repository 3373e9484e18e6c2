"""What runs say: to the console in its formats, and into the record, whatever it is and wherever it goes."""

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tidemill import logs, settings
from tidemill.client.recorder import Recorder
from tidemill.logs import RunLog, RunLogger, engine_log, flow_run_log, task_run_log
from tidemill.records import Batch
from tidemill.store.sqlite import SqliteDatabase

FLOW_RUN = "01920000-0000-7000-8000-000000000001"
TASK_RUN = "01920000-0000-7000-8000-000000000002"


class Kept(logging.Handler):
    """A handler of the program's own."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Record:
    """What a recorder was given."""

    def __init__(self, database: SqliteDatabase) -> None:
        self.lines: list[Any] = []
        self.recorder = Recorder(database, self._write)

    def _write(self, batch: Batch) -> dict[str, str]:
        self.lines += batch.logs
        return {}

    def messages(self) -> list[str]:
        self.recorder.flush()
        return [line[-1] for line in self.lines]


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """The loggers as a program finds them, and afterwards as they were."""
    logs.set_up()
    names = ("tidemill", "tidemill.flow_runs", "tidemill.task_runs")
    before = {name: (logging.getLogger(name).handlers[:], logging.getLogger(name).level) for name in names}
    yield
    for name, (handlers, level) in before.items():
        logging.getLogger(name).handlers[:] = handlers
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    database = SqliteDatabase(str(tmp_path / "queue.db"))
    yield Record(database)
    database.close()


@pytest.fixture
def log(record: Record) -> RunLog:
    return flow_run_log(record.recorder, FLOW_RUN, "adept-capuchin", "my-flow")


class TestConsole:
    def test_a_line_has_time_level_run_and_message(self, log: RunLog, capsys: pytest.CaptureFixture[str]) -> None:
        log.info("hello")
        log.warning("careful")
        said = capsys.readouterr().err
        line = r"\d\d:\d\d:\d\d\.\d\d\d \| {:<7} \| Flow run 'adept-capuchin' - {}\n"
        assert re.fullmatch(line.format("INFO", "hello") + line.format("WARNING", "careful"), said)

    def test_each_kind_of_run_has_its_voice(self, record: Record, capsys: pytest.CaptureFixture[str]) -> None:
        task_run_log(record.recorder, FLOW_RUN, TASK_RUN, "add_one-3c3112ef-0", "add_one").info("x")
        engine_log(record.recorder, FLOW_RUN).info("y")
        first, second = capsys.readouterr().err.splitlines()
        assert first.endswith("| INFO    | Task run 'add_one-3c3112ef-0' - x")
        assert second.endswith("| INFO    | tidemill.engine - y")

    def test_several_lines_at_once_are_several_lines(self, log: RunLog, capsys: pytest.CaptureFixture[str]) -> None:
        log.say(logging.INFO, "one", "two")
        assert [line[-3:] for line in capsys.readouterr().err.splitlines()] == ["one", "two"]

    def test_below_the_level_nothing_is_shown_or_recorded(
        self, log: RunLog, record: Record, capsys: pytest.CaptureFixture[str]
    ) -> None:
        log.debug("too much")
        assert not log.note(logging.DEBUG, "too much")
        assert capsys.readouterr().err == ""
        assert record.messages() == []

    def test_the_level_is_a_setting(self, log: RunLog, record: Record, capsys: pytest.CaptureFixture[str]) -> None:
        with settings.using(logging_level="DEBUG"):
            logs.set_up()
            log.debug("much")
        assert "| DEBUG   |" in capsys.readouterr().err
        assert record.messages() == ["much"]

    def test_quiet_leaves_out_what_is_not_the_users_own(
        self, log: RunLog, record: Record, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with settings.using(logging_format="quiet"):
            log.info("Created flow run")
            log.error("Finished in state Failed()")
            RunLogger(log).info("from the user")
        assert [line.split(" - ")[1] for line in capsys.readouterr().err.splitlines()] == [
            "Finished in state Failed()",
            "from the user",
        ]
        assert record.messages() == ["Created flow run", "Finished in state Failed()", "from the user"]

    def test_json_is_an_object_a_line(self, log: RunLog, capsys: pytest.CaptureFixture[str]) -> None:
        with settings.using(logging_format="json"):
            log.say(logging.ERROR, "two\nlines", 'and "quotes" ü \ud800')
        first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00", first.pop("timestamp"))
        assert first == {"level": "ERROR", "source": "Flow run 'adept-capuchin'", "message": "two\nlines"}
        assert second["message"] == 'and "quotes" ü \ud800'

    def test_there_is_no_colour_in_a_file(self, log: RunLog, capsys: pytest.CaptureFixture[str]) -> None:
        log.error("red")
        assert "\x1b" not in capsys.readouterr().err

    @pytest.mark.parametrize(("wanted", "coloured"), [(True, True), (False, False)])
    def test_on_a_terminal_colour_is_a_setting(
        self, wanted: bool, coloured: bool, log: RunLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        monkeypatch.setattr(sys, "stderr", Terminal())
        with settings.using(logging_colors=wanted):
            log.error("red")
            log.info("plain")
        red, plain = sys.stderr.getvalue().splitlines()  # type: ignore[attr-defined]
        assert (red.startswith("\x1b[31m") and red.endswith("\x1b[0m")) is coloured
        assert "\x1b" not in plain

    def test_what_the_stream_cannot_show_is_escaped(self, log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, "ascii", write_through=True))
        log.info("ü 🌊 \ud800")
        assert raw.getvalue().endswith(b" - \\xfc \\U0001f30a \\ud800\n")

    def test_a_closed_stream_stops_nothing(self, log: RunLog, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
        closed = io.StringIO()
        closed.close()
        monkeypatch.setattr(sys, "stderr", closed)
        log.error("to nobody")
        assert record.messages() == ["to nobody"]

    def test_no_stream_at_all_stops_nothing(self, log: RunLog, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stderr", None)
        log.error("to nobody")
        assert record.messages() == ["to nobody"]


class TestRecord:
    def test_a_line_is_recorded_with_run_level_and_logger(self, record: Record) -> None:
        task_run_log(record.recorder, FLOW_RUN, TASK_RUN, "x-0", "x").error("said")
        record.recorder.flush()
        ((flow_run, task_run, level, time, name, message),) = record.lines
        assert (flow_run, task_run, level, name, message) == (FLOW_RUN, TASK_RUN, 40, "tidemill.task_runs", "said")
        assert isinstance(time, int)

    def test_a_line_is_noted_before_it_is_shown(self, log: RunLog, record: Record, capsys: pytest.CaptureFixture[str]) -> None:
        noted = log.note(logging.INFO, "done")
        assert record.messages() == ["done"]
        assert capsys.readouterr().err == ""
        log.show(noted, logging.INFO, "done")
        assert capsys.readouterr().err.endswith(" - done\n")
        assert record.messages() == ["done"]

    def test_the_engines_lines_of_no_run_are_not_recorded(self, record: Record) -> None:
        engine_log(record.recorder).info("starting")
        assert record.messages() == []

    def test_a_long_line_is_cut_with_a_mark(self, log: RunLog, record: Record) -> None:
        with settings.using(logging_max_message=1_000):
            log.info("a" * 1_000)
            log.info("b" * 1_001)
        whole, cut = record.messages()
        assert whole == "a" * 1_000
        assert cut == "b" * 960 + "... [41 characters cut]"

    def test_lone_surrogates_are_recorded_as_escapes(self, log: RunLog, record: Record) -> None:
        log.info("ü \ud800 🌊")
        assert record.messages() == ["ü \\ud800 🌊"]


class TestStandardLogging:
    def test_what_is_said_through_the_run_logger_is_recorded_and_shown_once(
        self, log: RunLog, record: Record, capsys: pytest.CaptureFixture[str]
    ) -> None:
        RunLogger(log).warning("%d of %d", 1, 2)
        assert record.messages() == ["1 of 2"]
        assert capsys.readouterr().err.count("1 of 2") == 1

    @pytest.mark.parametrize("where", ["tidemill", "tidemill.flow_runs"])
    def test_a_foreign_handler_hears_the_engine_and_the_user_each_once(
        self, where: str, log: RunLog, record: Record, capsys: pytest.CaptureFixture[str]
    ) -> None:
        handler = Kept()
        logging.getLogger(where).addHandler(handler)
        log.say(logging.INFO, "from the engine", "100 %s")
        RunLogger(log).error("from the user")
        expected = ["from the engine", "100 %s", "from the user"]
        assert [said.getMessage() for said in handler.records] == expected
        assert record.messages() == expected
        assert [line.split(" - ")[1] for line in capsys.readouterr().err.splitlines()] == expected

    def test_a_foreign_handler_is_told_of_which_run_it_hears(self, log: RunLog) -> None:
        handler = Kept()
        logging.getLogger("tidemill.flow_runs").addHandler(handler)
        log.info("x")
        (said,) = handler.records
        assert said.__dict__["flow_run_id"] == FLOW_RUN
        assert said.__dict__["flow_run_name"] == "adept-capuchin"

    def test_what_the_user_adds_to_a_line_stays(self, log: RunLog) -> None:
        handler = Kept()
        logging.getLogger("tidemill.flow_runs").addHandler(handler)
        RunLogger(log).info("x", extra={"colour": "red"})
        (said,) = handler.records
        assert (said.__dict__["colour"], said.__dict__["flow_run_id"]) == ("red", FLOW_RUN)

    def test_setting_up_again_changes_nothing(self) -> None:
        before = logging.getLogger("tidemill").handlers[:]
        with settings.using(logging_level="DEBUG"):
            logs.set_up()
        logs.set_up()
        assert logging.getLogger("tidemill").handlers == before
        assert logging.getLogger("tidemill").level == logging.INFO
