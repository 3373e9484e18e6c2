"""A Dask cluster of this program's own: its scheduler here, its workers child processes that die with this one.

Dask's own local cluster starts its workers by `multiprocessing`, which executes an unguarded script again. These start like
those of the process pool, need no guard, and can be killed one by one.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic
from typing import Any

from dask import config
from distributed import Scheduler, SpecCluster
from distributed.deploy.spec import ProcessInterface

from tidemill.logs import root as logger
from tidemill.runners.children import Child, ChildDied
from tidemill.runners.dask.worker import SLOT_BYTES, serve
from tidemill.serializers import dump_by_value

_HERE = "127.0.0.1"
_SILENT: Any = logging.CRITICAL
_STEADY_SECONDS = 5.0  # a worker that has lived so long is replaced at once when it dies
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
# No task waits on our side while a worker is idle: how many are under way is limited already.
_CONFIGURATION = {"distributed.scheduler.worker-saturation": "inf", "distributed.admin.log-length": 0}


class OwnCluster:
    """The scheduler and its workers.

    Args:
        n_workers: how many processes there are; each executes one task at a time.
    """

    def __init__(self, n_workers: int) -> None:
        self.n_workers = n_workers
        self._folder = tempfile.mkdtemp(prefix="tidemill-dask-")
        self._deaths: dict[str, ChildDied] = {}
        self._died = threading.Condition()
        # It tells of every connection that ends, also of the last, when the cluster has given its loggers back their levels.
        logging.getLogger("distributed.batched").setLevel(logging.WARNING)
        try:
            with config.set(_CONFIGURATION):
                self.cluster: Any = SpecCluster(
                    scheduler={
                        "cls": Scheduler,
                        "options": {"host": _HERE, "dashboard": False, "dashboard_address": f"{_HERE}:0"},
                    },
                    workers={
                        number: {"cls": _ChildWorker, "options": {"folder": self._folder, "tell": self._note_death}}
                        for number in range(n_workers)
                    },
                    silence_logs=_SILENT,
                )
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def death_of(self, task_run_id: str, patience: float) -> ChildDied | None:
        """How the worker ended that executed a task run, if it has; told within so many seconds."""
        with self._died:
            self._died.wait_for(lambda: task_run_id in self._deaths, patience)
            return self._deaths.pop(task_run_id, None)

    def kill(self, task_run_ids: Iterable[str]) -> None:
        """Kills the workers that execute these runs. Others take their places."""
        wanted = set(task_run_ids)
        workers: list[_ChildWorker] = list(self.cluster.workers.values())
        for worker in workers:
            if worker.executes in wanted:
                worker.kill()

    def close(self) -> None:
        """Ends everything."""
        self.cluster.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _note_death(self, task_run_id: str, death: ChildDied) -> None:
        with self._died:
            self._deaths[task_run_id] = death
            self._died.notify_all()


class _ChildWorker(ProcessInterface):
    """One place of the cluster, in which a child process is a Dask worker; when it dies, another."""

    def __init__(self, scheduler: str, name: Any, folder: str, tell: Callable[[str, ChildDied], None]) -> None:
        super().__init__(scheduler=scheduler, name=name)
        self.name = name
        self._slot = Path(folder, f"slot-{name}")  # where its process notes what it executes
        self._payload = dump_by_value((serve, (scheduler, name, str(self._slot), folder)))
        self._tell = tell
        self._child: Child | None = None
        self._pause = _FIRST_PAUSE_SECONDS
        self._starting = threading.Lock()
        self._closing = threading.Event()

    async def start(self) -> None:
        self._start_child()
        threading.Thread(target=self._watch, name="tidemill-dask-worker", daemon=True).start()
        await super().start()

    async def close(self) -> None:
        self._closing.set()
        await asyncio.get_running_loop().run_in_executor(None, self.kill)
        await super().close()

    @property
    def executes(self) -> str:
        """The id of the task run that it executes, or an empty text."""
        try:
            return self._slot.read_bytes()[:SLOT_BYTES].decode("ascii", "replace").strip()
        except OSError:  # it has not begun, or the folder is gone
            return ""

    def kill(self) -> None:
        """Ends the process."""
        with self._starting:
            child = self._child
        if child is not None:
            child.kill()

    def _start_child(self) -> None:
        with self._starting:
            self._child = None if self._closing.is_set() else Child.start()

    def _watch(self) -> None:
        """Sees the process to its end, and then the next."""
        while not self._closing.is_set():
            since = monotonic()
            try:
                self._see_to_the_end()
            except ChildDied as death:
                executed = self.executes
                if executed:
                    self._tell(executed, death)
                self._slot.unlink(missing_ok=True)
            except Exception as error:  # it could not become a worker
                logger.warning("A Dask worker ended and is replaced: %s: %s", type(error).__name__, error)
                self.kill()
            steady = monotonic() - since > _STEADY_SECONDS
            self._pause = _FIRST_PAUSE_SECONDS if steady else min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
            self._closing.wait(self._pause - _FIRST_PAUSE_SECONDS)

    def _see_to_the_end(self) -> None:
        if self._child is None:
            self._start_child()
        child = self._child
        if child is not None:
            try:
                child.call(self._payload)
            finally:
                self._child = None
