"""What every task runner is, and what it is given to execute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tidemill.exceptions import DefinitionError


class Work(Protocol):
    """One task run that is ready to start: all it needs is there."""

    def execute(self) -> bool:
        """Executes it here, in this thread, until its end is recorded. Never raises.

        Returns:
            Whether it still is to be settled, once that record is durable; if not, everything is done.
        """
        ...

    def execute_elsewhere(self, call: Callable[[bytes], bytes], stop: Callable[[], None]) -> bool:
        """Executes it in another process. Otherwise like `execute`.

        Args:
            call: brings a package to the other process, and gives its answer. Raises ChildDied if that ends meanwhile.
            stop: kills the other process.
        """
        ...


Settle = Callable[[Sequence[Any]], None]


class TaskRunner:
    """Where the submitted task runs of a flow run execute. One object serves one flow run; `fresh` makes another."""

    # Whether an async task of an async flow runs on the flow's own event loop.
    shares_the_loop = True
    # Whether several tasks run at once.
    overlaps = True

    def start(self, settle: Settle) -> None:
        """Gets ready. `settle(works)` makes what they recorded durable, and lets everybody know."""
        raise NotImplementedError

    def run(self, work: Work) -> None:
        """Takes one on; returns at once, except where tasks are executed one after the other."""
        raise NotImplementedError

    def close(self) -> None:
        """Lets the workers go. Those that are stuck in a task are not waited for."""

    def kill(self) -> None:
        """Ends for certain whatever can be ended."""

    def fresh(self) -> TaskRunner:
        """A runner of the same kind and options, for another flow run."""
        raise NotImplementedError


def checked_workers(max_workers: Any) -> int | None:
    """A number of workers, if it is one.

    Raises:
        DefinitionError: it is not a whole number of at least 1.
    """
    if max_workers is None or (isinstance(max_workers, int) and not isinstance(max_workers, bool) and max_workers >= 1):
        return max_workers
    raise DefinitionError(f"max_workers must be a whole number of at least 1, not {max_workers!r}.")
