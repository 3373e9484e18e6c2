"""The program of a child process: receives calls, executes them one after the other on its main thread, and replies.

The parent (`tidemill.runners.children`) runs this file as a script. So nothing of the user's program is executed again, as
`multiprocessing` would do, and the child starts also where Tidemill is found only through the `sys.path` that the parent
sends. The top of this file imports little: it is what every child waits for before it can take its first call.
"""

from __future__ import annotations

import faulthandler
import fcntl
import marshal
import os
import pickle
import select
import signal
import sys
from contextlib import suppress
from struct import Struct
from typing import Any

HEADER = Struct("!cQ")
"""What stands in front of every message: its kind, and the number of bytes that follow."""

SURROUNDINGS, CALL = b"s", b"c"
"""Kinds of messages to the child: a marshalled dict (see `_settle`), and a pickled pair of function and argument."""

VALUE, RAISED, UNREADABLE = b"v", b"e", b"u"
"""Kinds of replies: what the function returned; what it raised, as a marshalled triple (traceback, last line of it, pickled
exception or None); why a call could not be unpickled, as text."""


def main() -> None:
    connection, life_line = (int(number) for number in sys.argv[1:3])
    for fd in (connection, life_line):
        os.set_inheritable(fd, False)
    _end_with_parent(life_line)
    # Nor do forks hold the connection: by its end the parent sees that this process is gone.
    os.register_at_fork(after_in_child=lambda: _close(connection))
    faulthandler.enable(file=2)  # a crash in C code says on stderr where it was
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the starting thread may have blocked some, and its mask is inherited
    _serve(connection)


def _end_with_parent(life_line: int) -> None:
    """From now on this process and those it starts are killed as soon as the parent ends, however it ends and whatever
    this process does: the kernel itself sends the signal when the parent's end of the life line closes."""
    try:
        fcntl.fcntl(life_line, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(life_line, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life_line, fcntl.F_SETFL, fcntl.fcntl(life_line, fcntl.F_GETFL) | os.O_ASYNC)
    except (AttributeError, OSError):  # not on this system
        import threading

        threading.Thread(target=_watch, args=(life_line,), name="tidemill-life-line", daemon=True).start()
        return
    poll = select.poll()
    poll.register(life_line, select.POLLIN)
    if poll.poll(0):  # it closed before the signal was asked for
        os.killpg(os.getpgrp(), signal.SIGKILL)


def _watch(life_line: int) -> None:
    os.read(life_line, 1)  # nothing is ever written
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _serve(connection: int) -> None:
    """Answers calls until the parent closes the connection."""
    process = os.getpid()
    while (message := _receive(connection)) is not None:
        kind, body = message
        del message  # what was sent may be large, and is held until it is unpickled
        if kind == SURROUNDINGS:
            _settle(marshal.loads(body))
            continue
        answer, reply = _execute(body, process)
        del body
        _flush()
        _send(connection, answer, reply)
        del reply


def _settle(given: dict[str, Any]) -> None:
    """Makes this process look to the user's code like the parent: module path, working folder, environment, arguments."""
    sys.path[:] = given["path"]
    sys.argv[:] = given["arguments"]
    environment: dict[str, str] = given["environment"]
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
    if given["folder"] is not None:
        with suppress(OSError):  # it has been removed meanwhile
            os.chdir(given["folder"])
    for name in given["modules"]:
        with suppress(Exception):  # the call that needs it says what is wrong with it
            __import__(name)


def _execute(body: bytearray, process: int) -> tuple[bytes, Any]:
    """The kind of reply to a call, and the reply."""
    try:
        function, argument = pickle.loads(body)
    except BaseException as error:  # unpickling imports the user's modules and runs their code
        return UNREADABLE, _why_unreadable(error).encode("utf-8", "backslashreplace")
    try:
        value: Any = function(argument)
        if not isinstance(value, bytes):
            raise TypeError(f"A function called in a child process returns bytes, not {type(value).__qualname__}.")
        error = None
    except BaseException as raised:  # also SystemExit: it ends what was called, not this process
        value, error = b"", raised
    if os.getpid() != process:  # the function forked, and its copy came back here too
        _end_copy(error)
    return (VALUE, value) if error is None else (RAISED, _described(error))


def _end_copy(error: BaseException | None) -> None:
    """Ends a fork of this process as the interpreter would, but without what only the original may do at its end."""
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
        status = 1
    else:
        status = 0
    _flush()
    os._exit(status & 0xFF)


def _described(error: BaseException) -> bytes:
    import traceback

    from tidemill.serializers import dump_by_value

    where = error.__traceback__.tb_next if error.__traceback__ is not None else None  # without the frame of this file
    text = "".join(traceback.format_exception(type(error), error, where))
    summary = "".join(traceback.format_exception_only(error)).strip()
    try:
        pickled = dump_by_value(error)
    except Exception:  # pickling runs the exception's own code; its text is sent in any case
        pickled = None
    return marshal.dumps((text, summary, pickled))


def _why_unreadable(error: BaseException) -> str:
    reason = f"{type(error).__name__}: {error}"
    if not isinstance(error, ImportError):
        return f"The child process cannot unpickle what it was given to execute: {reason}"
    return (
        f"The child process cannot import what it was given to execute: {reason}. It looked in sys.path = {sys.path!r}. "
        "A module that a child process needs must be installed, or lie in one of these folders (PYTHONPATH adds some)."
    )


def _flush() -> None:
    """What was printed appears before the parent goes on."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # none, broken or closed
            stream.flush()


def _receive(connection: int) -> tuple[bytes, bytearray] | None:
    header = _read(connection, HEADER.size)
    if header is None:
        return None
    kind, size = HEADER.unpack(header)
    body = _read(connection, size)
    return None if body is None else (kind, body)


def _read(connection: int, size: int) -> bytearray | None:
    """So many bytes, or None when the connection ends before."""
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        count = os.readv(connection, [rest])
        if not count:
            return None
        rest = rest[count:]
    return data


def _send(connection: int, kind: bytes, body: bytes) -> None:
    for part in (memoryview(HEADER.pack(kind, len(body))), memoryview(body)):
        while part:
            part = part[os.write(connection, part) :]


def _close(fd: int) -> None:
    with suppress(OSError):  # the user's code has closed it
        os.close(fd)


if __name__ == "__main__":
    main()
