"""Which server of this home runs where: a file for each port, written by the server and believed while its process lives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

import msgspec

from tidemill import clock
from tidemill.orchestration import processes
from tidemill.records import Lease

# A process elsewhere, whose home this is too, counts as living: whether it does cannot be seen from here.
_FOR_EVER_SECONDS = 100 * 365 * 24 * 3600.0


class ServerInfo(msgspec.Struct, frozen=True):
    """A server, as it tells of itself. `started` is microseconds since the epoch, UTC."""

    process: Lease
    host: str
    port: int
    version: str
    started: int

    @property
    def url(self) -> str:
        """Where it answers, as seen from its own machine."""
        return url_of(self.host, self.port)

    @property
    def is_here(self) -> bool:
        """Whether its process is one of this machine, and of this container on it."""
        return self.process.boot_id == processes.place()

    @property
    def is_running(self) -> bool:
        return not processes.is_gone(self.process, clock.now())


def url_of(host: str, port: int) -> str:
    """The address of a server that listens on this host."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def path_of(home: str, port: int) -> str:
    """The file of the server on this port."""
    return os.path.join(home, f"server-{port}.json")


def log_path_of(home: str, port: int) -> str:
    """Where a server on this port writes that runs in the background."""
    return os.path.join(home, f"server-{port}.log")


def write(home: str, host: str, port: int, version: str) -> str:
    """Tells that this process is the server on this port; gives the file.

    Raises:
        OSError: it cannot be written.
    """
    os.makedirs(home, exist_ok=True)
    info = ServerInfo(processes.new_lease(os.getpid(), _FOR_EVER_SECONDS), host, port, version, clock.now())
    path = path_of(home, port)
    part = f"{path}.{os.getpid()}"
    try:
        with open(part, "wb") as file:
            file.write(msgspec.json.encode(info))
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            os.unlink(part)
        raise
    return path


def remove(path: str) -> None:
    """Takes the file away, if it is still this process's."""
    info = _read(path)
    if info is not None and info.process.pid == os.getpid():
        os.unlink(path)


def running(home: str, port: int) -> ServerInfo | None:
    """The server of this home that runs on this port."""
    info = _read(path_of(home, port))
    return info if info is not None and info.is_running else None


def all_running(home: str) -> list[ServerInfo]:
    """Every server of this home that runs, by port."""
    found = [_read(path) for path in _files(home)]
    return sorted((info for info in found if info is not None and info.is_running), key=lambda info: info.port)


def _files(home: str) -> Iterator[str]:
    if not os.path.isdir(home):
        return
    for name in os.listdir(home):
        port = name.removeprefix("server-").removesuffix(".json")
        if port.isdigit() and name == f"server-{port}.json":
            yield os.path.join(home, name)


def _read(path: str) -> ServerInfo | None:
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=ServerInfo)
    except (OSError, msgspec.DecodeError):
        return None
