"""The `tidemill` command as a program: exit codes, pipes, terminals, signals."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import tidemill

pytestmark = pytest.mark.program

Environment = Callable[[Mapping[str, str] | None], dict[str, str]]
COMMAND = [sys.executable, "-m", "tidemill"]


@pytest.fixture
def execute(child_environment: Environment) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*COMMAND, *arguments], env=child_environment(env), capture_output=True, text=True, timeout=120)

    return run


@pytest.fixture
def on_terminal(child_environment: Environment) -> Callable[..., tuple[int, str]]:
    """Runs a command on a terminal of its own, types `typed` into it, and gives exit code and screen."""

    def run(*arguments: str, typed: str = "", columns: int = 140, env: Mapping[str, str] | None = None) -> Any:
        size = {"COLUMNS": str(columns), "LINES": "40", "TERM": "xterm-256color"}
        environment = {name: text for name, text in child_environment(None).items() if name != "NO_COLOR"}
        terminal, inner = pty.openpty()
        program = subprocess.Popen(
            [*COMMAND, *arguments], env={**environment, **size, **(env or {})}, stdin=inner, stdout=inner, stderr=inner
        )
        os.close(inner)
        os.write(terminal, typed.encode())
        screen = b""
        while select.select([terminal], [], [], 120)[0]:
            try:
                piece = os.read(terminal, 65_536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            screen += piece
        os.close(terminal)
        return program.wait(120), screen.decode()

    return run


def test_version_is_one_word(execute: Any) -> None:
    for flag in ("--version", "-v"):
        assert execute(flag).stdout == f"{tidemill.__version__}\n"


def test_version_says_what_the_tutorial_says(execute: Any) -> None:
    lines = execute("version").stdout.splitlines()
    labels = [line[:20].rstrip() for line in lines]
    assert labels == [
        "Version:",
        "API version:",
        "Python version:",
        "Git commit:",
        "Built:",
        "OS/Arch:",
        "Profile:",
        "Server type:",
        "Server:",
        "  Database:",
        "  SQLite version:",
    ]
    values = [line[21:] for line in lines]
    assert all(line[20:21] in ("", " ") for line in lines)
    assert values[0] == tidemill.__version__
    assert re.fullmatch(r"[0-9a-f]{8}|unknown", values[3])
    assert re.fullmatch(r"\w{3}, \w{3} \d\d, \d{4} \d\d:\d\d [AP]M|unknown", values[4])
    assert values[5].startswith(f"{sys.platform}/")
    assert values[6:10] == ["default", "ephemeral", "", "sqlite"]


def test_version_with_a_server(execute: Any) -> None:
    lines = execute("version", env={"TIDEMILL_API_URL": "http://127.0.0.1:4200/api"}).stdout.splitlines()
    assert lines[-1] == "Server type:         hosted"


def test_no_arguments_show_help(execute: Any) -> None:
    done = execute()
    assert done.returncode == 0
    for word in ("flow-run", "task-run", "config", "profile", "db", "--profile", "--install-completion"):
        assert word in done.stdout


@pytest.mark.parametrize(
    "command", ["flow-run ls", "flow-run logs", "task-run inspect", "flow ls", "config set", "profile use", "db backup"]
)
def test_every_command_has_help(execute: Any, command: str) -> None:
    done = execute(*command.split(), "--help")
    assert done.returncode == 0
    assert f"Usage: tidemill {command}" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["flow-rum", "ls"], "flow-run"),
        (["flow-run", "lss"], 'Did you mean "ls"?'),
        (["flow-run", "ls", "--limits", "3"], "--limits"),
        (["flow-run", "ls", "--limit", "many"], "many"),
        (["flow-run", "ls", "--state-type", "DONE"], "SCHEDULED"),
        (["flow-run", "inspect"], "RUN"),
    ],
)
def test_a_command_line_that_makes_no_sense(execute: Any, arguments: list[str], complaint: str) -> None:
    done = execute(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    error, advice = done.stderr.splitlines()
    assert error.startswith("Error: ")
    assert complaint in error
    assert advice.startswith("Try: tidemill ")
    assert advice.endswith(" --help")


def test_an_error_of_ours_is_one_line(execute: Any, home: Path) -> None:
    home.mkdir(exist_ok=True)
    (home / "tidemill.db").write_bytes(b"this is no database " * 500)
    for command in (["flow-run", "ls"], ["db", "check"]):
        done = execute(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("Error: ")
        assert done.stderr.count("\n") == 1


def test_a_bad_setting_is_one_line(execute: Any) -> None:
    done = execute("flow-run", "ls", env={"TIDEMILL_DURABILITY": "eternal"})
    assert done.returncode == 1
    assert done.stderr == (
        "Error: TIDEMILL_DURABILITY cannot be 'eternal' (from environment); it accepts one of process, power, relaxed.\n"
    )


def test_a_closed_pipe_is_silent(child_environment: Environment, home: Path, run_script: Any) -> None:
    run_script(LOGS, "2000")
    reader, writer = os.pipe()
    program = subprocess.Popen(
        [*COMMAND, "flow-run", "logs", "talker"], env=child_environment(None), stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert os.read(reader, 10)
    os.close(reader)
    _, complaints = program.communicate(timeout=120)
    assert complaints == b""
    assert program.returncode in (0, 128 + signal.SIGPIPE)


def test_a_stdout_that_cannot_show_a_character(run_script: Any, execute: Any) -> None:
    run_script('from tidemill import flow\n@flow(flow_run_name="caf\\u00e9")\ndef f(): pass\nf()')
    done = execute("flow-run", "ls", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "caf\\xe9" in done.stdout


def test_a_terminal_gets_a_coloured_table(runs: None, on_terminal: Any) -> None:
    code, screen = on_terminal("flow-run", "ls", "--limit", "3")
    assert code == 0
    assert "\x1b[31mFailed" in screen
    assert "1 to 3 of 5 flow runs" in screen
    _, plain = on_terminal("flow-run", "ls", env={"NO_COLOR": "1"})
    assert "\x1b[" not in plain
    assert "Failed" in plain


def test_a_narrow_terminal_does_without_ids(runs: None, on_terminal: Any) -> None:
    _, narrow = on_terminal("flow-run", "ls", columns=70)
    assert "good-run" in narrow
    assert " ID " not in narrow
    assert max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", narrow).splitlines())) <= 70


def test_delete_asks_on_a_terminal(runs: None, on_terminal: Any, execute: Any) -> None:
    code, screen = on_terminal("flow-run", "delete", "good-run", typed="n\n")
    assert code == 1
    assert "Delete flow run 'good-run' (Completed) with 3 task runs? [y/N]" in screen
    assert "Nothing was deleted." in screen
    code, screen = on_terminal("flow-run", "delete", "good-run", typed="y\n")
    assert code == 0
    assert "Deleted flow run 'good-run'." in screen
    assert "good-run" not in execute("flow-run", "ls").stdout


LOGS = """
import sys
from tidemill import flow, get_run_logger

@flow(flow_run_name="talker")
def talk(lines):
    for n in range(lines):
        get_run_logger().info("line %s", n)
        if n % 4 == 0 and len(sys.argv) > 2:
            sys.stdin.readline()

talk(int(sys.argv[1]))
"""
"""Says so many lines; with a second argument some at a time, whenever it is told to go on."""


def follow(run: str, child_environment: Environment) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "flow-run", "logs", run, "--follow"],
        env=child_environment(None),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_follow_shows_lines_as_they_come_and_ends_with_the_run(
    child_environment: Environment, start_script: Any, execute: Any, wait_until: Any
) -> None:
    script = start_script(LOGS, "12", "slowly")
    wait_until(lambda: "talker" in execute("flow-run", "ls").stdout)
    with follow("talker", child_environment) as following:
        assert following.stdout is not None
        assert "Created flow run 'talker'" in following.stdout.readline()
        shown = ""
        for last in ("line 0\n", "line 4\n", "line 8\n"):
            while not shown.endswith(last):  # what was said comes while the flow still runs
                line = following.stdout.readline()
                assert line, shown
                shown += line
            script.tell()
        shown += following.stdout.read()
        assert following.stderr is not None
        assert (following.wait(120), following.stderr.read()) == (0, "")
    assert re.findall(r"line (\d+)", shown) == [str(n) for n in range(12)]
    assert shown.endswith("Finished in state Completed()\n")


def test_ctrl_c_ends_following_quietly(
    child_environment: Environment, start_script: Any, execute: Any, wait_until: Any
) -> None:
    start_script(LOGS, "1", "slowly")
    wait_until(lambda: "line 0" in execute("flow-run", "logs", "talker").stdout)
    with follow("talker", child_environment) as following:
        assert following.stdout is not None
        assert "Created flow run" in following.stdout.readline()
        following.send_signal(signal.SIGINT)
        _, complaints = following.communicate(timeout=120)
    assert (following.returncode, complaints) == (130, "")


def test_completion_can_be_installed(execute: Any, tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    home = {"HOME": str(tmp_path), "SHELL": "/bin/bash"}
    done = execute("--install-completion", "--shell", "bash", "--output", str(script), env=home)
    assert done.returncode == 0
    text = script.read_text()
    for word in ("flow-run", "task-run", "inspect", "--state-type"):
        assert word in text
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_little_is_loaded_for_a_plain_answer(child_environment: Environment) -> None:
    code = (
        "import sys; sys.argv = ['tidemill', 'flow-run', 'ls']; from tidemill.cli import main; main(); "
        "print(sorted({'rich.table', 'pydantic', 'asyncio', 'tomllib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=child_environment(None), capture_output=True, text=True)
    assert done.stdout == "[]\n"
