"""How far a long `task.map` has come, as the last line of the terminal.

The line is drawn by whoever finishes or submits a task run, at most ten times a second: no thread, and next to nothing for
each task. What is written to the terminal meanwhile, by log lines and by `print`, stands above it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from tidemill import settings
from tidemill.futures import TaskRunFuture

FEWEST_CALLS = 100
"""A map of no more calls shows no progress."""

_SECONDS_BETWEEN_DRAWINGS = 0.1
_CLEAR = "\r\x1b[2K"


class MapProgress:
    """The progress of one map: how many of its calls have ended, were submitted, and will be.

    Args:
        name: the task's.
        total: how many calls there will be; None if only the end of the iterable tells.
    """

    def __init__(self, name: str, total: int | None) -> None:
        self._name = name
        self._total = total
        self._submitted = self._done = self._failed = 0
        self._all_submitted = False
        self._drawn = time.monotonic()
        self._lock = threading.RLock()  # a signal handler may finish task runs while its thread is in here
        self._drawing = threading.Lock()
        self._draw = _drawer(name)
        _last_line.begin(self)

    def follow(self, future: TaskRunFuture[Any]) -> None:
        """Counts one more call, and later its end."""
        with self._lock:
            self._submitted += 1
        future.add_done_callback(self._note_done)
        self._show_if_due()

    def close(self) -> None:
        """No more calls follow. The line goes when the last one has ended."""
        with self._lock:
            self._all_submitted = True
        self._end_if_over()

    def _note_done(self, future: TaskRunFuture[Any]) -> None:
        completed = future.state.is_completed()
        with self._lock:
            self._done += 1
            self._failed += not completed
        self._show_if_due()
        if self._all_submitted:
            self._end_if_over()

    def _end_if_over(self) -> None:
        if self._done == self._submitted:
            _last_line.end(self)

    def _show_if_due(self) -> None:
        now = time.monotonic()
        if now - self._drawn < _SECONDS_BETWEEN_DRAWINGS or not _last_line.shows(self):
            return
        if not self._drawing.acquire(blocking=False):
            return
        try:
            self._drawn = now
            total = self._submitted if self._all_submitted else self._total
            _last_line.show(self, self._draw(self._done, total, self._counted(total)))
        finally:
            self._drawing.release()

    def _counted(self, total: int | None) -> str:
        counted = f"{self._done:,}/{total:,}" if total is not None else f"{self._done:,}"
        if self._submitted != total:
            counted += f", {self._submitted:,} submitted"
        return counted + (f", {self._failed:,} failed" if self._failed else "")


def progress_of(name: str, futures: Iterable[TaskRunFuture[Any]], total: int | None) -> MapProgress | None:
    """Begins to show the progress of a map that has made these calls already; None where nobody wants or could see it."""
    current = settings.current()
    if not current.progress or current.logging_format == "json" or not _is_ours(sys.stderr):
        return None
    progress = MapProgress(name, total)
    for future in futures:
        progress.follow(future)
    return progress


def _is_ours(stream: TextIO | None) -> bool:
    """Whether a stream goes to a terminal whose last line we may write: we are in its foreground, as child processes that
    execute tasks are not."""
    try:
        if stream is None or not stream.isatty() or os.environ.get("TERM") in (None, "", "dumb", "unknown"):
            return False
        terminal = stream.fileno()
    except (ValueError, OSError):  # closed, or no file
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:  # not the terminal that we were started from
        return True


def _drawer(name: str) -> Callable[[int, int | None, str], str]:
    """What draws a line: from how many are done, of how many, and the counts in words."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(file=sys.stderr, color_system="auto" if settings.current().logging_colors else None, highlight=False)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[counted]}{task.fields[rate]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        auto_refresh=False,
    )
    shown = bar.add_task(escape(name), total=None, counted="", rate="")

    def draw(done: int, total: int | None, counted: str) -> str:
        speed = bar.tasks[0].speed
        bar.update(shown, completed=done, total=total, counted=counted, rate="" if speed is None else f", {speed:,.0f}/s")
        with console.capture() as capture:
            console.print(bar.make_tasks_table(bar.tasks), width=max(console.width - 1, 1), end="", no_wrap=True, crop=True)
        return capture.get().split("\n")[0]

    return draw


class _LastLine:
    """The last line of the terminal, which belongs to the map that began last of those that go on."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._maps: list[MapProgress] = []
        self._text = ""
        self._in_line = False  # something else was written that has not ended its line

    def begin(self, progress: MapProgress) -> None:
        with self._lock:
            self._maps.append(progress)
            for name in ("stderr", "stdout"):
                stream = getattr(sys, name)
                if not isinstance(stream, _Above) and _is_ours(stream):
                    setattr(sys, name, _Above(stream, self))

    def shows(self, progress: MapProgress) -> bool:
        return self._maps[-1:] == [progress]

    def show(self, progress: MapProgress, text: str) -> None:
        """Draws the line anew, unless its map has ended meanwhile."""
        with self._lock:
            stream = sys.stderr
            if self.shows(progress) and isinstance(stream, _Above):
                encoding = stream.encoding or "ascii"
                self._text = text.encode(encoding, "replace").decode(encoding)
                if not self._in_line:
                    self._redraw(stream.stream)

    def end(self, progress: MapProgress) -> None:
        """Removes the line, or leaves it to the map that began before."""
        with self._lock:
            if progress not in self._maps:
                return
            self._maps.remove(progress)
            self._text = ""
            for name in ("stderr", "stdout"):
                stream = getattr(sys, name)
                if not isinstance(stream, _Above):
                    continue
                if name == "stderr" and not self._in_line:
                    self._redraw(stream.stream)
                if not self._maps:
                    setattr(sys, name, stream.stream)

    def write_above(self, stream: TextIO, text: str) -> int:
        """Writes what others have to say."""
        with self._lock:
            if not self._text or not text:
                return stream.write(text)
            begins_line, self._in_line = not self._in_line, not text.endswith("\n")
            below = "" if self._in_line else f"{self._text}\r"
            stream.write(f"{_CLEAR if begins_line else ''}{text}{below}")
            stream.flush()
            return len(text)

    def forget(self) -> None:
        """In a forked child: the line is its parent's."""
        self._lock = threading.RLock()
        self._maps = []
        self._text = ""

    def _redraw(self, stream: TextIO) -> None:
        try:
            # The cursor goes back to where the line begins: who writes past us, as child processes do, writes over it.
            stream.write(f"{_CLEAR}{self._text}\r")
            stream.flush()
        except (OSError, ValueError, RuntimeError):  # the terminal is gone, or a signal handler speaks while its thread does
            pass


class _Above:
    """A standard stream whose lines stand above the last line of the terminal; otherwise just what it was."""

    def __init__(self, stream: TextIO, line: _LastLine) -> None:
        self.stream = stream
        self._line = line

    def write(self, text: str) -> int:
        return self._line.write_above(self.stream, text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


_last_line = _LastLine()
os.register_at_fork(after_in_child=_last_line.forget)
