"""The queue of one process's threads at its database: one is in at a time, and nothing interrupts it there."""

from __future__ import annotations

import threading

from tidemill.interrupts import shielded

_WAIT_SLICE_SECONDS = 0.1


class ThreadQueue:
    """Re-entrant. Inside, the thread is shielded from interruptions; while it waits, it is not."""

    def __init__(self) -> None:
        self.lock = threading.RLock()

    def enter(self, wait: bool = True) -> bool:
        """Keeps other threads out until `leave`; without `wait`, answers False at once if one is in."""
        shielded.__enter__()
        try:
            while not self.lock.acquire(timeout=_WAIT_SLICE_SECONDS if wait else 0):
                if not wait:
                    break
                with shielded.lifted():  # raises what came while we waited
                    pass
            else:
                return True
        except BaseException:
            shielded.__exit__()
            raise
        shielded.__exit__()
        return False

    def leave(self) -> None:
        self.lock.release()
        shielded.__exit__()

    def forget_after_fork(self) -> None:
        """In a forked child: nobody is in."""
        self.lock = threading.RLock()
