"""What every task runner is, and what it is given to execute."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from tidemill.exceptions import DefinitionError


class Values(Protocol):
    """The values that stay where they came to be, for a runner that sends packages there."""

    def packing(self) -> AbstractContextManager[None]:
        """For the time that a package is made, which may refer to them."""
        ...

    def last(self, entry: Any) -> Any:
        """What stands for the value of the run that was called last, which is a `states.ValueElsewhere`.

        Args:
            entry: the run as it is recorded, a `records.TaskRunEntry`.
        """
        ...


class Work(Protocol):
    """One task run that is ready to start: all it needs is there."""

    @property
    def task_run_id(self) -> str: ...

    @property
    def name(self) -> str: ...

    def execute(self) -> bool:
        """Executes it here, in this thread, until its end is recorded. Never raises.

        Returns:
            Whether it still is to be settled, once that record is durable; if not, everything is done.
        """
        ...

    def execute_elsewhere(
        self, call: Callable[[bytes], bytes], stop: Callable[[], None] | None, values: Values | None = None
    ) -> bool:
        """Executes it in another process. Otherwise like `execute`.

        Args:
            call: brings a package to the other process, and gives its answer. Raises ChildDied if that ends meanwhile.
            stop: kills the other process, some time after the task's time limit; None: it does so itself.
            values: what stays there.
        """
        ...


Settle = Callable[[Sequence[Any]], None]


class TaskRunner(ABC):
    """Where the submitted task runs of a flow run execute. One object serves one flow run; `fresh` makes another."""

    # Whether an async task of an async flow runs on the flow's own event loop.
    shares_the_loop = True
    # Whether several tasks run at once.
    overlaps = True

    def stands_in(self, value: Any, inside: bool) -> bool:
        """Whether what stands for a value elsewhere may be given to a task in its place.

        Args:
            inside: it is not the argument itself, but in a list or the like.
        """
        return False

    @abstractmethod
    def start(self, settle: Settle) -> None:
        """Gets ready. `settle(works)` makes what they recorded durable, and lets everybody know."""

    @abstractmethod
    def run(self, work: Work) -> None:
        """Takes one on; returns at once, except where tasks are executed one after the other."""

    @abstractmethod
    def close(self) -> None:
        """Lets the workers go. Those that are stuck in a task are not waited for."""

    @abstractmethod
    def kill(self) -> None:
        """Ends for certain whatever can be ended."""

    @abstractmethod
    def fresh(self) -> TaskRunner:
        """A runner of the same kind and options, for another flow run."""


def checked_workers(max_workers: Any, name: str = "max_workers") -> int | None:
    """A number of workers, if it is one.

    Raises:
        DefinitionError: it is not a whole number of at least 1.
    """
    if max_workers is None or (isinstance(max_workers, int) and not isinstance(max_workers, bool) and max_workers >= 1):
        return max_workers
    raise DefinitionError(f"{name} must be a whole number of at least 1, not {max_workers!r}.")
