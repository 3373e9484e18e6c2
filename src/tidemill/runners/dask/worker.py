"""What happens in a Dask worker: a package is executed to its durable end, and a large value stays there, under the Dask key of
its task run, where the tasks that need it get it."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from dask import config
from dask.sizeof import sizeof
from distributed import Worker

from tidemill.engine import shipping
from tidemill.engine.task_run import TaskExecution
from tidemill.exceptions import SerializationError
from tidemill.fingerprints import digest_of, is_atom, is_long
from tidemill.interrupts import stop_thread
from tidemill.records import TaskRunEntry
from tidemill.settings import Settings

SLOT_BYTES = 36
"""The length of a task run's id, which a worker of ours writes into its slot while it executes that run."""

# A value that is not kept in a file stays in the worker from this size on; a smaller one comes along with the answer.
_LARGE_BYTES = 64 * 1024
# A task that does not end at its time limit by itself, being inside C code, brings its worker down so much later.
_KILL_AFTER_SECONDS = 1.0
_LONGEST_LIMIT_SECONDS = 10_000_000.0


class Left:
    """A task run's answer, and its value, which stays where it is."""

    __slots__ = ("answer", "value")

    def __init__(self, answer: bytes, value: Any) -> None:
        self.answer = answer
        self.value = value

    def __sizeof__(self) -> int:
        """Dask asks for it, to know what a worker holds."""
        return sizeof(self.value) + len(self.answer)


def execute(package: bytes, inputs: dict[str, Left | bytes]) -> bytes | Left:
    """Executes a task run.

    Args:
        package: a pickled pair of `shipping.execute_packed` and what it takes.
        inputs: the values in the package that other runs have left in workers, by their Dask keys.

    Returns:
        The answer, with the value if that is small.
    """
    execute_packed, argument = _unpacked(package, inputs)
    place = _Place()
    with _turn.of(argument.surroundings.settings):
        answer: bytes = execute_packed(argument, place)
    return answer if place.left is None else Left(answer, place.left[0])


def answer_of(outcome: bytes | Left) -> tuple[bytes, bool]:
    """The answer, without the value, and whether that has a digest of its own, wherever it is."""
    if not isinstance(outcome, Left):
        return outcome, False
    return outcome.answer, is_long(outcome.value) or not is_atom(outcome.value)


def digest_of_value(outcome: Left) -> bytes:
    """What tells the value that a run has left from others, as an input."""
    return digest_of(outcome.value)


def interrupt(task_run_ids: set[str]) -> None:
    """Raises `Stopped` in the threads that execute these runs in this process."""
    for run, thread in _executing.copy().items():  # `list` may be interrupted by others that change it
        if run in task_run_ids:
            stop_thread(thread, lambda run=run, thread=thread: _executing.get(run) == thread)


def arrived(key: str) -> Any:
    """An input of the package that is being unpickled."""
    return _unpickling.inputs[key].value


class _Unpickling(threading.local):
    def __init__(self) -> None:
        self.inputs: dict[str, Any] = {}


_unpickling = _Unpickling()
_executing: dict[str, int] = {}  # task runs, and the threads they are on
_slot: int | None = None  # a file, in a worker that is a process of ours


def _unpacked(package: bytes, inputs: dict[str, Any]) -> Any:
    _unpickling.inputs = inputs
    try:
        return pickle.loads(package)
    except Exception as error:  # unpickling imports the user's modules and runs their code
        raise SerializationError(
            f"the Dask worker cannot read what it was given: {type(error).__name__}: {error}. What a task needs must be "
            "installed on the workers too"
        ) from None
    finally:
        _unpickling.inputs = {}


class _Place(shipping.Place):
    """A Dask worker. Dask brings a package to another one when the first has died."""

    may_come_again = True

    def __init__(self) -> None:
        self.left: tuple[Any] | None = None

    def keeps(self, entry: TaskRunEntry, value: Any) -> bool:
        kept = entry.result
        if (kept is not None and kept.inline is not None) or (kept is None and sizeof(value) < _LARGE_BYTES):
            return False
        self.left = (value,)
        return True

    @contextmanager
    def around(self, execution: TaskExecution) -> Generator[None]:
        run = execution.entry.id
        _executing[run] = threading.get_ident()
        limit = execution.longest_seconds
        if _slot is not None:
            os.pwrite(_slot, run.encode().ljust(SLOT_BYTES), 0)
            if limit is not None:  # its signal ends this process in any case, since nothing here asks for it
                signal.setitimer(signal.ITIMER_REAL, min(limit, _LONGEST_LIMIT_SECONDS) + _KILL_AFTER_SECONDS)
        try:
            yield
        finally:
            if _slot is not None:
                signal.setitimer(signal.ITIMER_REAL, 0)
                os.pwrite(_slot, b" " * SLOT_BYTES, 0)
            _executing.pop(run, None)


class _Turn:
    """Settings belong to a whole process: runs that were sent with others wait until those under way have ended."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._settings: Settings | None = None
        self._under_way = 0

    @contextmanager
    def of(self, settings: Settings) -> Generator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way or self._settings == settings)
            self._settings = settings
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()


_turn = _Turn()


def serve(given: tuple[str, str, str, str]) -> bytes:
    """What a child process does that is a worker of a cluster of ours, until it is killed.

    Args:
        given: the scheduler's address, the worker's name, the file that is its slot, a folder for what it spills.
    """
    global _slot
    address, name, slot, folder = given
    _slot = os.open(slot, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for logger in ("distributed", "distributed.worker", "distributed.core", "distributed.client", "tornado"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    with config.set({"distributed.worker.profile.enabled": False}):
        asyncio.run(_work(address, name, folder))
    return b""


async def _work(address: str, name: str, folder: str) -> None:
    options: dict[str, Any] = {"host": "127.0.0.1", "dashboard": False, "local_directory": folder, "memory_limit": 0}
    async with Worker(address, nthreads=1, name=name, **options) as worker:
        await worker.finished()
