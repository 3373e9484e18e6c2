"""Child processes that execute calls: what process pools, `isolation="process"` and certain cancelling rest on.

A child is a fresh interpreter that runs `child.py`, in a session and process group of its own: Ctrl-C in the terminal reaches
only this process, which decides, and `kill` ends the child together with what it started. When this process ends, however
it ends, its children are gone too (`child.py` says how). What the user's code starts in a session of its own is its own.
"""

from __future__ import annotations

import atexit
import fcntl
import marshal
import os
import select
import signal
import sys
import threading
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from tidemill.exceptions import SerializationError
from tidemill.interrupts import shielded
from tidemill.runners import child as program
from tidemill.runners.child import CALL, HEADER, RAISED, SURROUNDINGS, UNREADABLE
from tidemill.runners.child_errors import ChildDied, RaisedInChild, explained, raised

if TYPE_CHECKING:
    import socket
    import subprocess

_LOOK_SECONDS = 0.5  # how often a wait looks whether the child still lives, should others hold its connection open
_END_SECONDS = 1.0  # how long a process may take to end after its connection has
_CLOSE_SECONDS = 5.0  # how long an idle child may take for what its modules do at exit
_EXIT_SECONDS = 2.0  # the same for all together, when this process itself exits
_REAP_SECONDS = 10.0  # how long the system may take to end a killed process
_NO_SIGNAL = 0x4000 if sys.platform == "linux" else 0  # MSG_NOSIGNAL: the program may have given SIGPIPE back its old meaning
_MODULES_OF_EVERY_CALL = ("cloudpickle", "tidemill")


class Child:
    """One child process, which executes one call at a time. Made by `Child.start`."""

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket, life_line: int) -> None:
        self.pid = process.pid
        self._process = process
        self._connection = connection
        self._life_line = life_line
        self._poll = select.poll()
        # Guards everything below, and the reaping of the process: before that its number belongs to it for certain.
        # Reentrant, since a signal handler may kill a child that its thread is looking at.
        self._lock = threading.RLock()
        self._calling = False
        self._stopped = False
        self._ended = False
        self._known: dict[str, Any] = {}  # the surroundings it was last told

    @classmethod
    def start(cls) -> Child:
        """A new child process. It is ready about 0.1 seconds later; a call may be made at once.

        Raises:
            ChildDied: it cannot be started; says why.
        """
        if not sys.executable:
            raise ChildDied(
                "No child process can be started: this program does not say which Python interpreter it runs in "
                "(sys.executable is empty). Set sys.executable to the path of one.",
                begun=False,
            )
        with shielded, _starting:
            try:
                child = _start()
            except OSError as error:
                raise ChildDied(f"No child process can be started: {error}.", begun=False) from error
            _living.add(child)
        with suppress(OSError):  # it has ended already, which the first call tells
            child.settle()
        return child

    @property
    def is_idle(self) -> bool:
        """Whether it lives and executes nothing."""
        with self._lock:
            if not self._ended and self._process.poll() is not None:
                self._end(0)
            return not (self._ended or self._calling)

    def call(self, payload: bytes) -> bytes:
        """Has the child unpickle a pair (function, argument) and call the function with the argument, on its main thread.

        An exception in this thread meanwhile (Ctrl-C, a time limit) kills the child, since nobody waits for its reply.

        Args:
            payload: the pair, as `serializers.dump_by_value` writes it.

        Returns:
            What the function returned, which must be bytes.

        Raises:
            ChildDied: the process ended before it replied, by itself or by `kill`.
            SerializationError: the child could not unpickle the payload; it can be used further.
            RaisedInChild: the function raised an exception that cannot be unpickled here.
            BaseException: what the function raised, with the child's traceback as a note.
        """
        with self._lock:
            if self._calling:
                raise RuntimeError(f"The child process {self.pid} executes another call.")
            self._calling = True
        begun = False
        try:
            if self._ended:
                raise EOFError
            self.settle()
            self._send(CALL, payload)
            begun = True
            kind, reply = self._receive()
        except (EOFError, OSError):  # the connection is broken
            raise self._death(begun) from None
        except BaseException:
            self.kill()
            raise
        finally:
            with self._lock:
                self._calling = False
                if self._ended:
                    self._connection.close()
        if kind == RAISED:
            raise raised(reply)
        if kind == UNREADABLE:
            raise SerializationError(reply.decode())
        return reply

    def kill(self) -> None:
        """Ends the process and what it started, at once and for certain; from any thread, also while it executes a call,
        which then raises ChildDied with `stopped` set."""
        if not self._lock.acquire(blocking=False):
            self._stopped = True
            if not self._ended:  # another thread may be waiting for its end
                self._kill_group()
            self._lock.acquire()
        try:
            if not self._ended:
                self._stopped = True
                self._end(0)
        finally:
            self._lock.release()

    def close(self, patience: float = _CLOSE_SECONDS) -> None:
        """Lets an idle child end as a program does; kills it after `patience` seconds, or when it executes a call."""
        with self._lock:
            if not self._ended:
                self._stopped = True
                self.hang_up()
                self._end(0 if self._calling else patience)

    def hang_up(self) -> None:
        """Tells the child that no call will follow; `close` then waits for it."""
        import socket

        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def _end(self, patience: float) -> bool:
        """Waits for the end of the process, kills it after so many seconds, and kills what it left behind.

        Returns:
            Whether it ended by itself.
        """
        from subprocess import TimeoutExpired

        try:
            self._process.wait(patience)
            by_itself = True
        except TimeoutExpired:
            by_itself = False
            self._kill_group()
            with suppress(TimeoutExpired):  # stuck in the system; it ends when it comes out of there
                self._process.wait(_REAP_SECONDS)
        self._kill_group()
        self._ended = True
        _living.discard(self)
        os.close(self._life_line)
        if not self._calling:  # else the thread that calls still looks at it
            self._connection.close()
        return by_itself

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # the second: some systems say so of a group of dead processes
            os.killpg(self.pid, signal.SIGKILL)

    def forget(self) -> None:
        """In a fork of the process that started it: lets go of what is the other's."""
        self._lock = threading.RLock()
        self._ended = True
        self._process.returncode = 0  # so that Popen does not look for it
        os.close(self._life_line)
        self._connection.close()

    def _death(self, begun: bool) -> ChildDied:
        """What to say of a child whose connection has ended."""
        with self._lock:
            by_itself = self._ended or self._end(_END_SECONDS)
            code: int | None = self._process.returncode
        what, number = explained(code)
        if self._stopped:
            what = "was stopped"
        elif not by_itself:
            what = "closed its connection to this process, or hung at its end, and was killed"
        return ChildDied(
            f"The child process {self.pid} {what}.",
            exit_code=code if number is None else None,
            signal=number,
            stopped=self._stopped,
            begun=begun,
        )

    def settle(self) -> None:
        """Tells the child the surroundings of this process, if they are not those it knows."""
        now = _surroundings()
        if now != self._known:
            self._send(SURROUNDINGS, marshal.dumps({**now, "modules": () if self._known else _MODULES_OF_EVERY_CALL}))
            self._known = now

    def _send(self, kind: bytes, body: bytes) -> None:
        parts = [memoryview(HEADER.pack(kind, len(body))), memoryview(body)]
        while parts:
            try:
                sent = self._connection.sendmsg(parts, (), _NO_SIGNAL)
            except BlockingIOError:
                self._wait(select.POLLOUT)
                continue
            while parts and sent >= len(parts[0]):
                sent -= len(parts.pop(0))
            if parts:
                parts[0] = parts[0][sent:]

    def _receive(self) -> tuple[bytes, bytes]:
        kind, size = HEADER.unpack(self._read(HEADER.size))
        return kind, bytes(self._read(size))

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            self._wait(select.POLLIN)
            count = self._connection.recv_into(rest)
            if not count:
                raise EOFError
            rest = rest[count:]
        return data

    def _wait(self, event: int) -> None:
        """Returns when the connection is ready, and raises EOFError when the child has ended and left nothing to read."""
        self._poll.register(self._connection, event)
        while not self._poll.poll(_LOOK_SECONDS * 1000):
            with self._lock:
                if self._ended or self._process.poll() is not None:
                    raise EOFError


class Children:
    """Child processes that are used again and again: as many as are taken, of which so many are kept when idle.

    Args:
        most_idle: how many idle ones are kept at most; default: one for each processor.
    """

    def __init__(self, most_idle: int | None = None) -> None:
        self._most_idle = most_idle or os.cpu_count() or 1
        self._idle: list[Child] = []  # pop and append are atomic
        self._closed = False

    def take(self) -> Child:
        """An idle child, or a new one; of whoever takes it alone until it is given back.

        Raises:
            ChildDied: none can be started; says why.
        """
        while True:
            try:
                child = self._idle.pop()
            except IndexError:
                return Child.start()
            if child.is_idle:
                return child

    def give_back(self, child: Child) -> None:
        """Keeps the child for the next who takes one; lets it end if there are enough, and kills it if it still executes."""
        if self._closed or len(self._idle) >= self._most_idle or not child.is_idle:
            child.close()
        else:
            self._idle.append(child)
            if self._closed:
                self.close()

    def warm(self, number: int) -> None:
        """Starts children until so many are idle, as far as so many are kept. They get ready side by side, meanwhile."""
        for _ in range(min(number, self._most_idle) - len(self._idle)):
            self.give_back(Child.start())

    def close(self) -> None:
        """Lets the idle ones end, and those that are out when they are given back."""
        self._closed = True
        idle: list[Child] = []
        while self._idle:
            with suppress(IndexError):
                idle.append(self._idle.pop())
        _close_all(idle, _CLOSE_SECONDS)


def _start() -> Child:
    import socket
    import subprocess

    with ExitStack() as on_failure, ExitStack() as always:
        ours, theirs = socket.socketpair()
        on_failure.callback(ours.close)
        connection = _above_stdio(theirs.detach())
        always.callback(os.close, connection)
        watched, life_line = os.pipe()
        on_failure.callback(os.close, life_line)
        watched = _above_stdio(watched)
        always.callback(os.close, watched)
        ours.setblocking(False)
        os.set_blocking(connection, True)  # whatever time limit the program sets for sockets
        process = subprocess.Popen(
            [sys.executable, *_interpreter_options(), program.__file__, str(connection), str(watched)],
            stdin=subprocess.DEVNULL,
            pass_fds=(connection, watched),
            start_new_session=True,
        )
        on_failure.pop_all()
    return Child(process, ours, life_line)


def _above_stdio(fd: int) -> int:
    """A file whose number is not one of the standard streams', as it may be in a program that has closed these."""
    if fd > 2:
        return fd
    higher = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return higher


def _interpreter_options() -> list[str]:
    """The options this interpreter was started with, such as -O or -X utf8."""
    from subprocess import _args_from_interpreter_flags  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]

    return _args_from_interpreter_flags()  # pyright: ignore[reportUnknownVariableType]


def _surroundings() -> dict[str, Any]:
    """What the user's code in a child finds as it is here. Exact texts, since nothing else can be marshalled."""
    try:
        folder = os.getcwd()
    except OSError:  # it has been removed
        folder = None
    return {
        "path": [str(os.fsdecode(entry)) for entry in sys.path],
        "arguments": [str(argument) for argument in sys.argv],
        "folder": folder,
        "environment": os.environ.copy(),
    }


def _close_all(children: Iterable[Child], seconds: float) -> None:
    """Lets all end side by side, and kills those that have not after so many seconds."""
    children = list(children)
    deadline = monotonic() + seconds
    for child in children:
        child.hang_up()
    for child in children:
        child.close(max(0.0, deadline - monotonic()))


_living: set[Child] = set()
# Held while a child is started and while this process forks: a fork must not keep the end of a life line it does not know of.
_starting = threading.RLock()


def _after_fork() -> None:
    """A fork has no children; those it sees are the other's."""
    for child in list(_living):
        child.forget()
    _living.clear()
    _starting.release()


@atexit.register
def _end_all() -> None:
    _close_all(_living, _EXIT_SECONDS)


os.register_at_fork(before=_starting.acquire, after_in_parent=_starting.release, after_in_child=_after_fork)

shared = Children()
"""The children of this process that belong to no runner."""

__all__ = ["Child", "ChildDied", "Children", "RaisedInChild", "shared"]
