"""Several processes that answer on one address, and the one that watches over them."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client.multiprocess import mark_process_dead  # pyright: ignore[reportUnknownVariableType]

from tidemill.exceptions import TidemillError
from tidemill.server.metrics import SHARED_FOLDER
from tidemill.server.serving import GRACE_SECONDS

_log = logging.getLogger("tidemill.server")

_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
# Who dies so young, so often in a row, would do so for ever.
_YOUNG_SECONDS = 5.0
_MOST_YOUNG_DEATHS = 5


class WorkersDie(TidemillError):
    """The processes of the server die as soon as they start."""


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    started: float


class Workers:
    """The processes of one server. They share its socket, and end with the process that has started them."""

    def __init__(self, number: int, listening: socket.socket) -> None:
        self._number = number
        self._listening = listening
        self._workers: list[_Worker] = []
        self._young_deaths = 0

    def run(self, when_ready: Callable[[], None]) -> None:
        """Keeps them going until it is asked to stop; calls `when_ready` once one of them answers.

        Raises:
            WorkersDie: they do not live long enough to answer.
        """
        folder = tempfile.mkdtemp(prefix="tidemill-metrics-")
        os.environ[SHARED_FOLDER] = folder
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self._ends_with_us, self._alive = os.pipe()
        try:
            self._start(when_ready)
            self._watch(folder)
        finally:
            self._stop()
            shutil.rmtree(folder, ignore_errors=True)

    def _start(self, when_ready: Callable[[], None]) -> None:
        self._told, tell = os.pipe()  # stays open, since all of them tell
        self._workers = [self._new(tell) for _ in range(self._number)]
        os.close(tell)
        if not os.read(self._told, 1):  # all have ended
            raise WorkersDie
        when_ready()

    def _watch(self, folder: str) -> None:
        while signal.sigwait(_SIGNALS) == signal.SIGCHLD:
            for worker in [worker for worker in self._workers if worker.process.poll() is not None]:
                self._workers.remove(worker)
                mark_process_dead(worker.process.pid, folder)
                self._note_death(worker)
                self._workers.append(self._new(None))

    def _note_death(self, worker: _Worker) -> None:
        _log.error("Process %d of the server has died (%s). Another is started.", worker.process.pid, _end_of(worker))
        young = time.monotonic() - worker.started < _YOUNG_SECONDS
        self._young_deaths = self._young_deaths + 1 if young else 0
        if self._young_deaths >= _MOST_YOUNG_DEATHS:
            raise WorkersDie

    def _new(self, tell: int | None) -> _Worker:
        handles = [self._listening.fileno(), self._ends_with_us, *([] if tell is None else [tell])]
        command = [sys.executable, "-m", "tidemill.server.worker", *map(str, handles)]
        return _Worker(subprocess.Popen(command, pass_fds=handles, stdin=subprocess.DEVNULL), time.monotonic())

    def _stop(self) -> None:
        for worker in self._workers:
            worker.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + GRACE_SECONDS + 5
        for worker in self._workers:
            try:
                worker.process.wait(max(until - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()


def _end_of(worker: _Worker) -> str:
    code = worker.process.returncode
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
