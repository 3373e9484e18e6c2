"""Whether the process that holds a lease still lives.

On its own machine a process can be asked for, so a deadline is believed only of processes elsewhere, and of one that is
stopped: a busy process may be late with its renewals, but it does what it holds.
"""

from __future__ import annotations

import os
from functools import cache

from tidemill import clock
from tidemill.ids import new_id
from tidemill.records import Lease

_START_TIME_FIELD = 22  # of /proc/<pid>/stat, counted from 1 as its manual page does
_STATE_FIELD = 3
_ENDED = frozenset("ZXx")  # a zombie has ended; only its parent has not looked yet
_STOPPED = frozenset("Tt")


@cache
def place() -> str:
    """Where process ids mean the processes seen from here: this start of this machine, and this container on it."""
    try:
        # As bytes: opening as text may import a codec, and a child forked meanwhile would wait for that import for ever.
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return f"{file.read().strip().decode()}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return os.uname().nodename


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since the start of the machine; None where the system does not tell."""
    fields = _stat(pid)
    return int(fields[_START_TIME_FIELD]) if fields else None


def new_lease(pid: int, seconds: float) -> Lease:
    """A claim for a process of this machine, not recorded yet, that is valid for so many seconds from now."""
    now = clock.now()
    return Lease(
        id=new_id(),
        pid=pid,
        boot_id=place(),
        hostname=os.uname().nodename,
        acquired=now,
        deadline=now + int(seconds * 1_000_000),
        process_start=start_time(pid),
    )


def is_gone(lease: Lease, now: int) -> bool:
    """Whether the process of a lease has ended, or must be taken to have ended, at the time `now` (microseconds)."""
    overdue = now > lease.deadline
    if lease.boot_id != place():
        return overdue
    if not _exists(lease.pid):
        return True
    fields = _stat(lease.pid)
    if not fields:  # the system does not tell more of it
        return False
    if lease.process_start is not None and int(fields[_START_TIME_FIELD]) != lease.process_start:
        return True
    state = fields[_STATE_FIELD]
    return state in _ENDED or (overdue and state in _STOPPED)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat, numbered from 1 as its manual page does; empty where there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    name, _, rest = text.rpartition(")")  # the name stands in brackets and may hold anything
    return ["", str(pid), name, *rest.split()]
