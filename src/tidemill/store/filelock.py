"""The queue in front of a database file: a kernel lock on a file beside it.

SQLite's own busy handler polls, so under load some writers starve and checkpoints never find a quiet moment. A kernel lock
is a fair queue, dies with its holder, and, since every writer, checkpoint and close of ours takes it, it also rules out
the races between them.
"""

from __future__ import annotations

import fcntl
import os

from tidemill.exceptions import StoreUnreachable
from tidemill.interrupts import shielded


class FileLock:
    """An exclusive lock on the file at `path`, held by one process at a time."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def acquire(self, wait: bool = True) -> bool:
        """Takes the lock; without `wait`, answers False at once if another process has it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                return False
            self._wait()
        except OSError as error:
            raise StoreUnreachable(f"The lock file beside the database cannot be used any more: {error.strerror}.") from None
        return True

    def _wait(self) -> None:
        try:
            with shielded.lifted():
                fcntl.flock(self._fd, fcntl.LOCK_EX)
        except BaseException:  # an interruption, perhaps at the very moment when the lock was given
            self.release()
            raise

    def release(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def forget(self) -> None:
        """Closes the file. In a forked child this leaves the parent's lock alone, where unlocking would take it away."""
        os.close(self._fd)
