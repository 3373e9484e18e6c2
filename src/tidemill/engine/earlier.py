"""What earlier attempts of a flow run have left behind: which task runs there are, and which of them a call continues."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from tidemill.engine.inputs import NEVER_AGAIN, ONLY_AT_ITS_POSITION
from tidemill.records import TaskRunEntry
from tidemill.states import COMPLETED


class EarlierRuns:
    """The task runs of earlier attempts, each to be taken up once.

    A call is matched by its task and position, if the inputs agree; else by an unused run of the same task with the same
    inputs, a finished one first. So it is found again also when the source was edited or calls come in another order.
    """

    def __init__(self, entries: Iterable[TaskRunEntry]) -> None:
        self.finished = 0
        self._by_position: dict[tuple[str, str], TaskRunEntry] = {}
        self._by_inputs: dict[tuple[str, str | None, bool], deque[TaskRunEntry]] = {}
        self._next_number: dict[str, int] = {}
        self._used: set[str] = set()
        self._guard = threading.Lock()
        for entry in entries:
            finished = is_finished(entry)
            self.finished += finished
            self._by_position[entry.task_key, entry.dynamic_key] = entry
            self._by_inputs.setdefault((entry.task_key, entry.input_hash, finished), deque()).append(entry)
            number = entry.dynamic_key.partition(".")[0]
            if number.isdigit():
                self._next_number[entry.task_key] = max(self._next_number.get(entry.task_key, 0), int(number) + 1)

    def __len__(self) -> int:
        return len(self._by_position)

    def take(self, task_key: str, position: str, input_hash: str) -> TaskRunEntry | None:
        """The run that this call continues, which then is used; None if there is none."""
        if input_hash.startswith(NEVER_AGAIN):
            return None
        with self._guard:
            entry = (
                self._at(task_key, position, input_hash)
                or self._with_inputs(task_key, input_hash, finished=True)
                or self._with_inputs(task_key, input_hash, finished=False)
            )
            if entry is not None:
                self._used.add(entry.id)
        return entry

    def next_number(self, task_key: str) -> str:
        """The dynamic key of a run that continues none: a number that no run of the task has."""
        with self._guard:
            number = self._next_number.get(task_key, 0)
            self._next_number[task_key] = number + 1
        return str(number)

    def _at(self, task_key: str, position: str, input_hash: str) -> TaskRunEntry | None:
        entry = self._by_position.get((task_key, position))
        if entry is None or entry.id in self._used or entry.input_hash not in (input_hash, None):
            return None
        return entry

    def _with_inputs(self, task_key: str, input_hash: str, *, finished: bool) -> TaskRunEntry | None:
        if input_hash.startswith(ONLY_AT_ITS_POSITION):
            return None
        entries = self._by_inputs.get((task_key, input_hash, finished))
        while entries:
            entry = entries.popleft()
            if entry.id not in self._used:
                return entry
        return None


def is_finished(entry: TaskRunEntry) -> bool:
    """Whether a run has completed and its result is kept."""
    return entry.progress.type is COMPLETED and entry.result is not None
