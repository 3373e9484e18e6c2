"""Waiting for commits where a database does not tell of them: by looking often, which costs next to nothing in SQLite."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_SECONDS_BETWEEN_LOOKS = 0.05


class CommitWatch:
    """One reader's wait.

    Args:
        newest: gives something else whenever something has been committed.
    """

    def __init__(self, newest: Callable[[], object]) -> None:
        self._newest = newest
        self._seen: object = None
        self._closed = threading.Event()

    def wait(self, timeout_seconds: float) -> bool:
        """Returns True when something is new since the last call, False after so many seconds or when this is closed."""
        deadline = time.monotonic() + timeout_seconds
        while not self._closed.is_set():
            newest = self._newest()
            if newest != self._seen:
                self._seen = newest
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._closed.wait(min(_SECONDS_BETWEEN_LOOKS, left))
        return False

    def close(self) -> None:
        """Ends the wait, from any thread."""
        self._closed.set()
