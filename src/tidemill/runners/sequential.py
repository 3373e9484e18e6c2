"""Task runs one after the other, in the thread that submits them."""

from __future__ import annotations

from tidemill.runners.base import Settle, TaskRunner, Work


class SequentialTaskRunner(TaskRunner):
    """Executes each submitted task to its end before `submit` returns. Good for debugging, and for what must not overlap.

    In an async flow `submit` cannot wait; there the tasks run one after the other in the order of their submission.
    """

    overlaps = False

    def start(self, settle: Settle) -> None:
        self._settle = settle

    def run(self, work: Work) -> None:
        if work.execute():
            self._settle([work])

    def close(self) -> None:
        """There are no workers."""

    def kill(self) -> None:
        """What executes is in the thread of the flow, which is interrupted itself."""

    def fresh(self) -> SequentialTaskRunner:
        return SequentialTaskRunner()

    def __repr__(self) -> str:
        return "SequentialTaskRunner()"
