"""The peers: Prefect 3.9.1, in a virtual environment of its own and, on request, with a server of its own; and DBOS."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sides import Side

RELEASE = "3.9.1"
_PATIENCE = 180

# Nothing is sent anywhere, and a busy machine gets more than the 20 seconds in which the temporary server has to start.
_SETTINGS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": str(_PATIENCE),
}

# The release asks for a certifi so new that an index may not have it yet. pip would then take an older release, whose
# looser bounds let in a FastAPI that it cannot work with. So the release is installed first, then what it asks for, to
# the letter but for certifi's lower bound. Its own bounds keep FastAPI below 0.151.
_ITS_REQUIREMENTS = """
from importlib.metadata import requires
for line in requires("prefect"):
    if "extra ==" not in line:
        print("certifi" if line.startswith("certifi") else line)
"""


def make(folder: Path) -> str:
    """Makes a virtual environment with the peer; returns its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    _pip(python, "--no-deps", f"prefect=={RELEASE}")
    asked = subprocess.run([python, "-c", _ITS_REQUIREMENTS], check=True, capture_output=True, text=True)
    _pip(python, *asked.stdout.splitlines())
    return python


def _pip(python: str, *what: str) -> None:
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what], check=True)


def prefect(python: str) -> Side:
    return Side("Prefect", "prefect", python, "PREFECT_HOME", "prefect.db", _SETTINGS)


def dbos(python: str) -> Side:
    """Another peer, for one question only: how it continues a run whose process was killed. `pip install dbos` makes it."""
    return Side("DBOS", "dbos", python, "DBOS_HOME", "", warm_up="resume.py")


@contextmanager
def with_server(side: Side, home: Path) -> Iterator[Side]:
    """Starts one server, with its database in `home`, for all measurements of the side."""
    port = _free_port()
    command = [side.python, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with open(home.with_suffix(".log"), "wb") as output:
        server = subprocess.Popen(
            command, env=side.environment(home), stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}/api"
        _wait_for(f"{url}/health", server)
        yield replace(side, settings={**side.settings, "PREFECT_API_URL": url}, server_home=home)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit("The peer's server did not start.")
