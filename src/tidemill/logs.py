"""What runs say: to the console, and into the record.

Everything goes through the loggers `tidemill`, `tidemill.flow_runs` and `tidemill.task_runs`, so that a program's own
handlers can be added to them. The engine's own lines take a shorter way when there are none, at a third of the cost.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import MutableMapping, Sequence
from typing import Any, TextIO

from tidemill import clock, settings
from tidemill.client.recorder import Recorder
from tidemill.texts import storable

_LEVEL_COLOURS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[1;31m"}
_LONGEST_MARK = 40
_SURELY_SHORT = 256
_RESET = "\x1b[0m"
_LEVEL_NAMES = {10: "DEBUG  ", 20: "INFO   ", 30: "WARNING", 40: "ERROR  ", 50: "CRITICAL"}

root = logging.getLogger("tidemill")
root.propagate = False  # our own handler shows the lines; a program's root handlers would show them again
_engine_logger = logging.getLogger("tidemill.engine")
_flow_run_logger = logging.getLogger("tidemill.flow_runs")
_task_run_logger = logging.getLogger("tidemill.task_runs")


class RunLog:
    """The voice of one run (or, without ids, of the engine)."""

    __slots__ = ("extra", "flow_run_id", "logger", "prefix", "recorder", "task_run_id")

    def __init__(
        self,
        logger: logging.Logger,
        prefix: str,
        recorder: Recorder,
        flow_run_id: str | None = None,
        task_run_id: str | None = None,
        names: dict[str, Any] | None = None,
    ) -> None:
        self.logger = logger
        self.prefix = prefix
        self.recorder = recorder
        self.flow_run_id = flow_run_id
        self.task_run_id = task_run_id
        self.extra = names or {}

    def debug(self, *messages: str) -> None:
        self.say(logging.DEBUG, *messages)

    def info(self, *messages: str) -> None:
        self.say(logging.INFO, *messages)

    def warning(self, *messages: str) -> None:
        self.say(logging.WARNING, *messages)

    def error(self, *messages: str) -> None:
        self.say(logging.ERROR, *messages)

    def say(self, level: int, *messages: str) -> None:
        """Says lines of the engine's own."""
        self.show(self.note(level, *messages), level, *messages)

    def note(self, level: int, *messages: str) -> int:
        """The first half of `say`: puts lines into the record only, so that what they tell can be committed before they are
        shown. Gives their time, or 0 if they are below the level that is logged."""
        if level < root.level:
            return 0
        now = clock.now()
        self.record(level, now, messages)
        return now

    def show(self, noted: int, level: int, *messages: str) -> None:
        """The second half of `say`."""
        if not noted:
            return
        if _has_foreign_handlers(self.logger):
            for message in messages:
                self.logger.log(level, "%s", message, extra={**self.adapter_extra(), "tidemill_noted": noted})
        else:
            console.write(level, noted, self.prefix, messages, engine=True)

    def record(self, level: int, now: int, messages: Sequence[str]) -> None:
        """Puts lines into the record, cut where they are too long."""
        if self.flow_run_id is not None or self.task_run_id is not None:
            run = (self.flow_run_id, self.task_run_id, level, now, self.logger.name)
            self.recorder.put_logs([(*run, _fit(message)) for message in messages])

    def adapter_extra(self) -> dict[str, Any]:
        return {**self.extra, "flow_run_id": self.flow_run_id, "task_run_id": self.task_run_id, "tidemill_run": self}


def engine_log(recorder: Recorder, flow_run_id: str | None = None, task_run_id: str | None = None) -> RunLog:
    return RunLog(_engine_logger, "tidemill.engine", recorder, flow_run_id, task_run_id)


def flow_run_log(recorder: Recorder, flow_run_id: str, name: str, flow_name: str) -> RunLog:
    names = {"flow_run_name": name, "flow_name": flow_name}
    return RunLog(_flow_run_logger, f"Flow run {name!r}", recorder, flow_run_id, None, names)


def task_run_log(recorder: Recorder, flow_run_id: str | None, task_run_id: str, name: str, task_name: str) -> RunLog:
    names = {"task_run_name": name, "task_name": task_name}
    return RunLog(_task_run_logger, f"Task run {name!r}", recorder, flow_run_id, task_run_id, names)


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """What `get_run_logger` gives: a standard logger whose lines belong to one run, on whatever thread they are said."""

    def __init__(self, log: RunLog) -> None:
        super().__init__(log.logger, log.adapter_extra())

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


class Outlet(logging.Handler):
    """Takes what is said through the standard loggers to the record and the console."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self.format(record)
        except Exception:  # a message that does not fit its arguments must not stop a run
            self.handleError(record)
            return
        log: RunLog | None = getattr(record, "tidemill_run", None)
        noted: int | None = getattr(record, "tidemill_noted", None)
        now = noted or clock.now()
        if log is not None and noted is None:
            log.record(record.levelno, now, (message,))
        prefix = record.name if log is None else log.prefix
        console.write(record.levelno, now, prefix, (message,), engine=noted is not None)


class Console:
    """Lines on stderr, in the format that the settings ask for."""

    def __init__(self) -> None:
        self._second = -1
        self._time_of_day = ""

    def write(self, level: int, now: int, prefix: str, messages: Sequence[str], *, engine: bool) -> None:
        """Writes lines; `engine` marks those that are not the user's own, which the quiet format leaves out."""
        stream = sys.stderr
        current = settings.current()
        style = current.logging_format
        if stream is None or (style == "quiet" and engine and level < logging.WARNING):
            return
        if style == "json":
            text = "".join(self._as_json(level, now, prefix, message) for message in messages)
        else:
            name = _LEVEL_NAMES.get(level) or f"{logging.getLevelName(level):<7}"
            head = f"{self._clock_text(now)} | {name} | {prefix} - "
            text = "".join([f"{head}{message}\n" for message in messages])
            if level > logging.INFO and current.logging_colors and _is_terminal(stream):
                text = f"{_LEVEL_COLOURS.get(level, '')}{text[:-1]}{_RESET}\n"
        _write_to(stream, text)

    def _clock_text(self, now: int) -> str:
        second, rest = divmod(now, 1_000_000)
        if second != self._second:
            self._time_of_day = time.strftime("%H:%M:%S", time.localtime(second))
            self._second = second
        return f"{self._time_of_day}.{rest // 1000:03d}"

    @staticmethod
    def _as_json(level: int, now: int, prefix: str, message: str) -> str:
        timestamp = clock.to_datetime(now).isoformat()
        line = {"timestamp": timestamp, "level": logging.getLevelName(level), "source": prefix, "message": message}
        return json.dumps(line) + "\n"


console = Console()


_set_up_for: settings.Settings | None = None


def set_up() -> None:
    """Attaches our handler and takes the level from the settings; doing it again changes nothing."""
    global _set_up_for
    if _set_up_for is settings.current():
        return
    _set_up_for = settings.current()
    if not any(isinstance(handler, Outlet) for handler in root.handlers):
        root.addHandler(Outlet())
    level = settings.current().logging_level_number
    if root.level != level:  # setting it empties the cache of every logger
        root.setLevel(level)


def _has_foreign_handlers(logger: logging.Logger) -> bool:
    return bool(logger.handlers or logger.filters or logger.level or logger.disabled) or len(root.handlers) > 1


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


# Held over a fork: a child forked while another thread writes would find the stream's own lock taken for ever.
_writing = threading.RLock()
os.register_at_fork(before=_writing.acquire, after_in_parent=_writing.release, after_in_child=_writing.release)


def _write_to(stream: TextIO, line: str) -> None:
    try:
        with _writing:
            try:
                stream.write(line)
            except UnicodeEncodeError:
                encoding = stream.encoding or "ascii"
                stream.write(line.encode(encoding, "backslashreplace").decode(encoding))
    except (OSError, ValueError, RuntimeError):  # a closed stream, or a signal handler that speaks while its thread does
        pass


def _fit(message: str) -> str:
    """The message as it can be kept: text that is Unicode, and not endless."""
    if len(message) > _SURELY_SHORT and len(message) > (limit := settings.current().logging_max_message):
        room = max(limit - _LONGEST_MARK, 0)
        message = f"{message[:room]}... [{len(message) - room:,} characters cut]"
    return storable(message)
