"""What is told of a child process that ended, or whose function raised something."""

from __future__ import annotations

import marshal
import pickle
import signal
from contextlib import suppress
from typing import Any

from tidemill.exceptions import ChildDied, RaisedInChild

_CAUSES = {
    "SIGKILL": "perhaps by the system for lack of memory (`dmesg` would tell)",
    "SIGSEGV": "a crash in C code; stderr says where it was",
    "SIGBUS": "a crash in C code, or a mapped file that shrank or could not be read; stderr says where it was",
    "SIGFPE": "a crash in C code; stderr says where it was",
    "SIGILL": "C code built for another processor, or a crash in it; stderr says where it was",
    "SIGABRT": "C code gave up; stderr may say why",
    "SIGTERM": "somebody asked it to end",
    "SIGINT": "somebody asked it to end",
    "SIGXCPU": "its limit of processor time",
}


def explained(code: int | None) -> tuple[str, int | None]:
    """How a process ended, from what the system says of it, and the number of the signal that ended it."""
    if code is None:
        return "was killed, and is stuck in the system", signal.SIGKILL
    if code < 0:
        return f"was killed by {_named(-code)}", -code
    if code > 128:  # as shells report it
        return f"exited with code {code}, which stands for {_named(code - 128)}", None
    return f"exited with code {code} before it replied", None


def _named(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    cause = _CAUSES.get(name)
    return f"signal {name} ({number})" + (f", {cause}" if cause else "")


def raised(reply: bytes) -> BaseException:
    """What the function raised, from the reply that tells it."""
    text, summary, pickled = marshal.loads(reply)
    error: Any = None
    if pickled is not None:
        with suppress(Exception):  # unpickling runs the exception's own code
            error = pickle.loads(pickled)
    if not isinstance(error, BaseException):
        error = RaisedInChild(f"A function called in a child process raised what cannot be unpickled here: {summary}")
    with suppress(Exception):  # of those that mind notes
        error.add_note(f"In the child process:\n{text}")
    return error


__all__ = ["ChildDied", "RaisedInChild", "explained", "raised"]
