"""What flow runs share that use copies of one task runner at the same time, such as a flow and its subflows."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Something that the first user opens, and the last closes.

    Args:
        open: makes it.
        close: ends it.
    """

    def __init__(self, open: Callable[[], T], close: Callable[[T], None]) -> None:
        self._open = open
        self._close = close
        self._guard = threading.Lock()
        self._users = 0
        self._opened: T | None = None
        self._process = os.getpid()

    def take(self) -> T:
        """It; to be given back."""
        if self._process != os.getpid():  # a fork has none
            self.__init__(self._open, self._close)
        with self._guard:
            if self._opened is None:
                self._opened = self._open()
            self._users += 1
            return self._opened

    def give_back(self) -> None:
        """Closes it when nobody else uses it."""
        with self._guard:
            self._users -= 1
            if self._users == 0 and self._opened is not None:
                opened, self._opened = self._opened, None
                self._close(opened)
