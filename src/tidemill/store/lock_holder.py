"""Which process holds a locked file, and whether it is at work: for those who wait for it."""

from __future__ import annotations

import os
from typing import NamedTuple

_STOPPED = frozenset("Tt")


class Holder(NamedTuple):
    """The process that holds a lock: None where the system does not tell which it is."""

    path: str
    pid: int | None
    is_stopped: bool

    def told(self, waited: float) -> str:
        """What somebody who has waited so many seconds is told, with what to do."""
        database = self.path.removesuffix(".lock")
        if self.pid is None:
            return (
                f"Another process has held the database {database} for {waited:.0f} seconds. If it is stopped, continue it or "
                f"end it; to see who it may be: fuser {self.path}"
            )
        if self.is_stopped:
            return (
                f"Process {self.pid} holds the database {database} and is stopped, so nothing can be recorded: continue it "
                f"(kill -CONT {self.pid}) or end it (kill -9 {self.pid})."
            )
        return (
            f"Process {self.pid} has held the database {database} for {waited:.0f} seconds, and is still at work. What is "
            f"recorded here waits for it; to see what it is: ps -fp {self.pid}"
        )


def holder_of(path: str) -> Holder:
    """The process that holds the lock on a file, as the system's table of locks tells."""
    pid = _pid_that_locks(path)
    return Holder(path, pid, pid is not None and _is_stopped(pid))


def _pid_that_locks(path: str) -> int | None:
    """From lines such as `1: FLOCK  ADVISORY  WRITE 1234 fe:00:2572456 0 EOF`; those who wait have `->` before FLOCK."""
    try:
        inode = os.stat(path).st_ino
        with open("/proc/locks", "rb") as table:
            lines = [line.split() for line in table.read().decode().splitlines()]
    except OSError:
        return None
    for fields in lines:
        # The device is left out: for some file systems (btrfs, overlays) the table has another than `stat` gives.
        if fields[1:2] == ["FLOCK"] and fields[5].endswith(f":{inode}") and _has_open(int(fields[4]), path):
            return int(fields[4])
    return None


def _has_open(pid: int, path: str) -> bool:
    """Whether a process may be the one: it has the file open, or is another user's, of whom that cannot be seen."""
    if pid <= 0:  # of another container
        return False
    try:
        wanted = os.path.realpath(path)
        return any(_target(f"/proc/{pid}/fd/{fd}") == wanted for fd in os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        return True
    except OSError:
        return False


def _target(link: str) -> str | None:
    try:
        return os.readlink(link)
    except OSError:
        return None


def _is_stopped(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name stands in brackets and may hold anything.
            return chr(file.read().rpartition(b") ")[2][0]) in _STOPPED
    except (OSError, IndexError):
        return False
