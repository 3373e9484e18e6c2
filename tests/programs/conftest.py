"""Programs of others, as they are installed from the registry, and servers for them to speak to."""

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

VERSION = "3.9.1"
# A registry may not have the certificates of the day on which that version was released: any will do here.
REQUIREMENTS = (
    "from importlib.metadata import requires; "
    "print('\\n'.join('certifi' if line.startswith('certifi') else line for line in requires('prefect')))"
)
PATIENCE = 280.0

StartServer = Callable[..., str]


@pytest.fixture(scope="session")
def field_python() -> Path:
    """An interpreter with the field's own client, unmodified; installed once for all runs of the tests on a machine."""
    if given := os.environ.get("TIDEMILL_TEST_PREFECT_PYTHON"):
        return Path(given)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    room = Path(tempfile.gettempdir()) / f"tidemill-tests-prefect-{VERSION}-python-{version}-{os.getuid()}"
    room.mkdir(exist_ok=True)
    python, done = room / "venv" / "bin" / "python", room / "installed"
    with (room / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            _install(room, python)
            done.touch()
    return python


def _install(room: Path, python: Path) -> None:
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    listed = room / "requirements.txt"
    _must([sys.executable, "-m", "venv", "--clear", str(room / "venv")])
    _must([*pip, "--no-deps", f"prefect=={VERSION}"])
    listed.write_text(_must([str(python), "-c", REQUIREMENTS]), encoding="utf-8")
    _must([*pip, "--requirement", str(listed)])


def _must(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0:
        pytest.fail(
            f"The field's client {VERSION} cannot be installed, so nothing can be said of how it gets on with our server. It "
            "needs a package registry; or name an interpreter that has it in TIDEMILL_TEST_PREFECT_PYTHON.\n"
            f"{' '.join(command)}\n{done.stdout}{done.stderr}",
            pytrace=False,
        )
    return done.stdout


@pytest.fixture
def start_server(tmp_path: Path, wait_until: Callable[..., None]) -> Iterator[StartServer]:
    """Starts a server's process, and gives the address of its API once that answers."""
    running = contextlib.ExitStack()

    def start(command: list[str], environment: Mapping[str, str], name: str) -> str:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        said = tmp_path / f"{name}.log"
        with said.open("w") as file:
            process = subprocess.Popen([*command, "--port", str(port)], env=dict(environment), stdout=file, stderr=file)
        running.enter_context(process)
        running.callback(process.terminate)
        api = f"http://127.0.0.1:{port}/api"

        def answers() -> bool:
            assert process.poll() is None, f"{name} has ended:\n{said.read_text(encoding='utf-8')}"
            try:
                with urllib.request.urlopen(f"{api}/health", timeout=10) as answer:
                    return answer.status == 200
            except OSError:
                return False

        wait_until(answers)
        return api

    with running:
        yield start
