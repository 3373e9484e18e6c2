"""The progress of a long map: a last line on a terminal, above which everything else stands whole; elsewhere nothing."""

import fcntl
import os
import re
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tidemill import flow, task
from tidemill.engine.progress import FEWEST_CALLS

STYLE = re.compile(r"\x1b\[[0-9;]*m")
LOG_LINE = re.compile(r"\d\d:\d\d:\d\d\.\d{3} \| \w+ +\| (Flow|Task) run '[\w-]+' - .+")


class Screen:
    """A terminal: what has been sent to it, and what a person would see."""

    def __init__(self) -> None:
        self._ours, self.side_of_the_program = os.openpty()
        fcntl.ioctl(self.side_of_the_program, termios.TIOCSWINSZ, struct.pack("4H", 50, 200, 0, 0))
        self.sent = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                self.sent += os.read(self._ours, 65_536)
            except OSError:  # nobody has the other side open any more
                return

    def close(self) -> None:
        os.close(self.side_of_the_program)
        self._reader.join(60)
        os.close(self._ours)

    @property
    def text(self) -> str:
        return STYLE.sub("", self.sent.decode())

    @property
    def drawn(self) -> list[str]:
        """Every line of progress that was drawn, without repetitions."""
        return list(dict.fromkeys(re.findall(r"step [━╸╺\s]+ [^\r\n]*", self.text)))

    @property
    def seen(self) -> list[str]:
        """The lines that stand on it in the end."""
        lines = [""]
        column = 0
        for piece in re.findall(r"\x1b\[2K|\r|\n|[^\x1b\r\n]+", self.text):
            if piece == "\x1b[2K":
                lines[-1] = ""
            elif piece == "\r":
                column = 0
            elif piece == "\n":
                lines.append("")
            else:
                lines[-1] = lines[-1][:column].ljust(column) + piece + lines[-1][column + len(piece) :]
                column += len(piece)
        return lines


Show = Callable[..., Screen]

SCRIPT = """
import sys, threading
from tidemill import flow, task, get_run_logger, ThreadPoolTaskRunner, ProcessPoolTaskRunner

go_on = threading.Event()

@task
def step(n):
    if n >= 120:
        go_on.wait(60)
    if n == 3:
        raise ValueError("three")
    return n

def members():
    yield from range(300)

"""
FLOW = """
@flow(task_runner=ThreadPoolTaskRunner(4))
def my_flow():
    futures = step.map({members})
    for future in futures[:100]:
        future.wait()
    {meanwhile}
    threading.Timer(0.3, go_on.set).start()
    futures.wait()
    return "done"

my_flow()
"""

ASYNC_FLOW = """
import asyncio

@task
async def async_step(n):
    await asyncio.sleep(0.05 * (n // 30))

@flow
async def my_flow():
    await async_step.map(range(300))

asyncio.run(my_flow())
"""


@pytest.fixture
def show(start_script: Any) -> Iterator[Show]:
    """Runs a script on a terminal."""
    screens: list[Screen] = []

    def run(source: str, **env: str) -> Screen:
        screen = Screen()
        screens.append(screen)
        terminal = {"stdout": screen.side_of_the_program, "stderr": screen.side_of_the_program}
        process = start_script(SCRIPT + source, env={"TERM": "xterm", **env}, **terminal)
        process.end()
        assert process.returncode == 0, screen.text
        screen.close()
        return screen

    return run


def script(members: str = "range(300)", meanwhile: str = "pass") -> str:
    return FLOW.format(members=members, meanwhile=meanwhile)


class TestOnATerminal:
    def test_it_counts_up_to_the_total_and_goes(self, show: Show) -> None:
        screen = show(script(), TIDEMILL_LOGGING_LEVEL="ERROR")
        assert any("/300" in line and "1 failed" in line for line in screen.drawn)
        assert not any(line.startswith("step ") for line in screen.seen)

    def test_without_a_known_total_it_counts_what_was_submitted(self, show: Show) -> None:
        screen = show(script("members()"), TIDEMILL_LOGGING_LEVEL="CRITICAL")
        assert any(re.search(r" \d+, \d+ submitted|/300", line) for line in screen.drawn)

    def test_log_lines_and_prints_stand_whole_above_it(self, show: Show) -> None:
        meanwhile = 'print("printed"); print("in", "pieces", end=""); print("!"); sys.stderr.writelines(["a\\n", "b\\n"])'
        screen = show(script(meanwhile=meanwhile))
        assert screen.drawn
        ended = re.findall(r"^.*Finished in state Completed\(\)$", "\n".join(screen.seen), re.MULTILINE)
        assert len(ended) >= 299
        assert all(LOG_LINE.fullmatch(line) for line in ended)
        assert [line for line in screen.seen if line in ("printed", "in pieces!", "a", "b")] == [
            "printed",
            "in pieces!",
            "a",
            "b",
        ]
        assert not any(line.startswith("step ") for line in screen.seen)

    def test_two_maps_at_once(self, show: Show) -> None:
        screen = show(script(meanwhile="step.map(range(150))"), TIDEMILL_LOGGING_LEVEL="CRITICAL")
        assert screen.drawn
        assert screen.seen == [""]

    def test_a_flow_that_raises_takes_its_line_along(self, show: Show) -> None:
        ends = "threading.Timer(0.3, go_on.set).start(); futures[200].wait()"
        meanwhile = f"{ends}; step.map(range(130)); raise RuntimeError('on purpose')"
        source = script(meanwhile=meanwhile).replace("\nmy_flow()\n", "\nprint(my_flow(return_state=True).type.value)\n")
        screen = show(source, TIDEMILL_LOGGING_LEVEL="CRITICAL")
        assert screen.drawn
        assert screen.seen == ["FAILED", ""]

    def test_an_async_flow(self, show: Show) -> None:
        screen = show(ASYNC_FLOW, TIDEMILL_LOGGING_LEVEL="ERROR")
        assert screen.drawn
        assert screen.seen == [""]

    def test_the_streams_are_afterwards_what_they_were(self, show: Show) -> None:
        before = "\nbefore = sys.stdout, sys.stderr\n"
        after = "\nprint((sys.stdout, sys.stderr) == before)\n"
        screen = show(before + script() + after, TIDEMILL_LOGGING_LEVEL="CRITICAL")
        assert screen.drawn
        assert screen.seen == ["True", ""]

    def test_a_terminal_without_unicode(self, show: Show) -> None:
        screen = show(script(meanwhile="print('said')"), PYTHONIOENCODING="ascii", TIDEMILL_LOGGING_LEVEL="CRITICAL")
        assert "/300" in screen.text
        assert screen.seen == ["said", ""]


class TestNothingIsShown:
    @pytest.mark.parametrize(
        "setting",
        [{"TIDEMILL_PROGRESS": "false"}, {"TIDEMILL_LOGGING_FORMAT": "json"}, {"TERM": "dumb"}],
        ids=["switched off", "json", "a dumb terminal"],
    )
    def test_where_nobody_wants_it(self, show: Show, setting: dict[str, str]) -> None:
        screen = show(script() + "\nprint('rich' in sys.modules)\n", **setting)
        assert screen.drawn == []
        assert screen.seen[-2:] == ["False", ""]

    def test_for_a_short_map(self, show: Show) -> None:
        screen = show(script(f"range({FEWEST_CALLS})"), TIDEMILL_LOGGING_LEVEL="CRITICAL")
        assert screen.text == ""

    def test_where_stderr_is_no_terminal(self, run_script: Any) -> None:
        done = run_script(SCRIPT + script() + "\nprint('rich' in sys.modules)\n", env={"TERM": "xterm"})
        assert done.stdout == "False\n"
        assert "━" not in done.stderr


def test_a_map_that_ends_in_the_middle_gives_what_it_gave_before() -> None:
    @task
    def step(n: int) -> int:
        return n

    def members() -> Iterator[int]:
        yield from range(FEWEST_CALLS + 10)
        raise OSError("the source is gone")

    @flow
    def parent() -> None:
        step.map(members())

    with pytest.raises(OSError, match="the source is gone"):
        parent()
