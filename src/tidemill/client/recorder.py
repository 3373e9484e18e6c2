"""Group commit by combining: what a process records waits in a buffer until somebody needs it to be durable.

Whoever needs that enters the database's queue and commits everything buffered, its own and others'; whoever comes second
finds its ticket committed already. So one sequential task costs one small transaction in its own thread, and a thousand
concurrent ones share few. What nobody waits for rides along, or is written by the pulse within 50 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tidemill.records import Batch, LogEntry, Refusals, TaskRunEntry, add_refusal

# Above this many waiting entries whoever adds one commits first: memory stays bounded however fast runs are made.
_BACK_PRESSURE = 20_000
_RELAXED_BATCH = 512


class Section(Protocol):
    def enter(self, wait: bool = True) -> bool: ...

    def leave(self) -> None: ...

    @property
    def busy(self) -> bool: ...


class Recorder:
    """The buffer of one process.

    Args:
        section: the queue of writers.
        write: records a batch durably and gives the flow runs refused, with reasons.
        relaxed: nobody waits for a commit; it follows within the pulse's interval.
    """

    def __init__(self, section: Section, write: Callable[[Batch], Refusals], *, relaxed: bool = False) -> None:
        self.relaxed = relaxed
        self.leases: tuple[str, ...] = ()
        self.refused: Refusals = {}
        self.committed = 0
        self.wake: Callable[[], None] | None = None  # set while the pulse sleeps
        self._section = section
        self._write = write
        self._most_waiting = _RELAXED_BATCH if relaxed else _BACK_PRESSURE
        self._issued = 0
        self._writing = False
        self._task_runs: dict[str, TaskRunEntry] = {}
        self._logs: list[LogEntry] = []

    @property
    def waiting(self) -> int:
        """How many entries are not committed yet."""
        return len(self._task_runs) + len(self._logs)

    def put(self, entry: TaskRunEntry) -> int:
        """Adds a task run as it is now; returns the ticket whose commit makes it durable.

        An entry that waits already is not added again: the commit takes its newest progress.
        """
        self._task_runs[entry.id] = entry
        if len(self._task_runs) > self._most_waiting:
            self.flush()
        return self._ticket()

    def put_logs(self, entries: Sequence[LogEntry]) -> None:
        """Adds lines that a run logged."""
        self._logs += entries
        if len(self._logs) > 3 * self._most_waiting:
            self.flush()
        self._ticket()

    def commit(self, ticket: int) -> None:
        """Returns when everything up to `ticket` is durable.

        Raises:
            StoreError: it could not be written; it stays in the buffer, and the next commit tries again.
        """
        if self.committed < ticket:
            self.flush()

    def flush(self) -> None:
        """Makes everything durable that was added before the call."""
        self._section.enter(wait=True)
        try:
            self._write_out_once()
        finally:
            self._section.leave()

    def try_flush(self) -> bool:
        """The same, unless another writer is at work: then it answers False at once."""
        if not self._section.enter(wait=False):
            return False
        try:
            self._write_out_once()
        finally:
            self._section.leave()
        return True

    def refuse(self, flow_run_id: str, attempt: int, reason: str) -> None:
        """From now on nothing of this attempt (or of one before) is recorded."""
        add_refusal(self.refused, flow_run_id, attempt, reason)

    def refusal(self, flow_run_id: str, attempt: int | None) -> str | None:
        """Why nothing of this attempt of a flow run is recorded (None: of whichever attempt); None if it is."""
        latest, reason = self.refused.get(flow_run_id, (0, None))
        return reason if attempt is None or attempt <= latest else None

    def forget(self) -> None:
        """Drops what waits; for a forked child, whose parent writes it."""
        self._writing = False
        self._task_runs.clear()
        self._logs.clear()

    def _ticket(self) -> int:
        # Two threads may get the same number; each has added its entry before, so a commit that sees the number takes both.
        self._issued = ticket = self._issued + 1
        wake = self.wake
        if wake is not None:
            wake()
        return ticket

    def _write_out_once(self) -> None:
        """What a signal handler or finalizer records in the middle of a commit is written by the next one."""
        if self._writing or self._section.busy:
            return
        self._writing = True
        try:
            self._write_out()
        finally:
            self._writing = False

    def _write_out(self) -> None:
        upto = self._issued
        # Others may add meanwhile. An entry is taken out before its progress is read: who makes progress after that puts it
        # in again. Of the lines, those taken are the front of the list, removed once they are written.
        task_runs = self._take_task_runs()
        logs = self._logs[:]
        if task_runs or logs:
            try:
                refused = self._write(Batch(task_runs, logs, self.leases))
            except BaseException:
                for entry in task_runs:
                    self._task_runs.setdefault(entry.id, entry)
                raise
            del self._logs[: len(logs)]
            for flow_run_id, (attempt, reason) in refused.items():
                self.refuse(flow_run_id, attempt, reason)
        self.committed = max(self.committed, upto)

    def _take_task_runs(self) -> list[TaskRunEntry]:
        taken = [self._task_runs.pop(run_id) for run_id in list(self._task_runs)]
        if not self.refused:
            return taken
        return [entry for entry in taken if entry.flow_run_id is None or not self.refusal(entry.flow_run_id, entry.attempt)]
