"""Task runs in child processes: real parallelism, and a task that brings its process down takes nothing else with it."""

from __future__ import annotations

import os
from typing import Any

from tidemill.runners.base import Settle, TaskRunner, Work, checked_workers
from tidemill.runners.children import Child, Children
from tidemill.runners.shared import Shared
from tidemill.runners.threads import ThreadPool


class ProcessPoolTaskRunner(TaskRunner):
    """Executes submitted tasks in child processes, which are fresh interpreters: no `if __name__ == "__main__"` guard is
    needed, and functions of a script or notebook work. A subflow uses those of its parent that are idle.

    Arguments and results are pickled (by cloudpickle). A process that dies fails its task, which is retried if it has
    retries; the others go on.

    Args:
        max_workers: how many processes there are at most; default: one for each processor.
    """

    shares_the_loop = False

    def __init__(self, max_workers: int | None = None) -> None:
        self.max_workers = checked_workers(max_workers)
        self._workers = workers = self.max_workers or os.cpu_count() or 1
        self._shared = Shared(lambda: Children(workers), Children.close)
        self._busy: set[Child] = set()
        self._killed = False

    def start(self, settle: Settle) -> None:
        self._children = self._shared.take()
        self._pool = ThreadPool(self._workers, self._execute, settle)

    def run(self, work: Work) -> None:
        self._pool.put(work)

    def close(self) -> None:
        self._pool.close()
        self._shared.give_back()

    def kill(self) -> None:
        self._killed = True
        for child in list(self._busy):
            child.kill()

    def fresh(self) -> ProcessPoolTaskRunner:
        runner = ProcessPoolTaskRunner(self.max_workers)
        runner._shared = self._shared
        return runner

    def _execute(self, work: Work) -> bool:
        """What each thread of the pool does: it sees one task through in a child."""
        taken: list[Child] = []

        def call(package: bytes) -> bytes:
            child = self._children.take()
            taken[:] = [child]
            self._busy.add(child)
            if self._killed:
                child.kill()
            try:
                return child.call(package)
            finally:
                self._busy.discard(child)
                self._children.give_back(child)

        def stop() -> None:
            for child in taken:
                child.kill()

        return work.execute_elsewhere(call, stop)

    def __reduce__(self) -> tuple[Any, ...]:
        return ProcessPoolTaskRunner, (self.max_workers,)

    def __repr__(self) -> str:
        return f"ProcessPoolTaskRunner(max_workers={self.max_workers})"
