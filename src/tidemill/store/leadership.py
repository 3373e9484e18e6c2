"""Which of several servers on one database leads: only that one runs the background loops."""

from __future__ import annotations

import os
from typing import Protocol

from tidemill.settings import DatabaseLimits
from tidemill.store.filelock import FileLock
from tidemill.store.sqlite_errors import folder_error


class Leadership(Protocol):
    """A claim to lead. It ends with the process that has it, whatever ends that."""

    def hold(self) -> bool:
        """Takes the lead if nobody has it, and says whether it is ours.

        Raises:
            StoreError: the database cannot be asked.
        """
        ...

    def release(self) -> None:
        """Gives the lead up."""
        ...


def leadership_of(address: str, limits: DatabaseLimits) -> Leadership:
    """The lead of the servers on the database at this address."""
    if not address.startswith("postgresql://"):
        return _OnFile(address)
    from tidemill.store.postgres_leadership import OnPostgres

    return OnPostgres(address, limits)


class _OnFile:
    """A lock on a file beside the database: the kernel gives it up with the process."""

    def __init__(self, path: str) -> None:
        self._path = f"{path}.leader"
        self._lock: FileLock | None = None

    def hold(self) -> bool:
        if self._lock is None:
            folder = os.path.dirname(self._path)
            try:
                os.makedirs(folder, exist_ok=True)
                self._lock = FileLock(self._path)
            except OSError as error:
                raise folder_error(folder, error) from None
        return self._lock.acquire(wait=False)

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock.forget()
            self._lock = None
