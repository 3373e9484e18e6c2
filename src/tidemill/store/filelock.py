"""The queue in front of a database file: a kernel lock on a file beside it.

SQLite's own busy handler polls, so under load some writers starve and checkpoints never find a quiet moment. A kernel lock
is a fair queue, dies with its holder, and, since every writer, checkpoint and close of ours takes it, it also rules out
the races between them.

A holder that is stopped (Ctrl-Z, a debugger) keeps it, though, and the kernel ends no wait for a lock. So who has to wait
has a thread of its own wait in its place: that one can be left behind.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time

from tidemill.exceptions import StoreUnreachable
from tidemill.interrupts import shielded
from tidemill.store.lock_holder import holder_of

# Who has waited this long says once for whom.
_WARN_AFTER_SECONDS = 5.0
# A holder that is busy is waited for without end; one that is stopped, for so long.
_GIVE_UP_AFTER_SECONDS = 60.0
# An exception raised in another thread (a time limit, a cancellation) arrives at that thread's next bytecode, so a wait
# there is cut into slices.
_SLICE_SECONDS = 0.2
_POLL_SECONDS = 0.01

_logger = logging.getLogger("tidemill")


class FileLock:
    """An exclusive lock on the file at `path`, held by one process at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._pid = os.getpid()
        self._stand_in: _StandIn | None = None
        self._waited: _Waited | None = None

    def acquire(self, wait: bool = True, longest: float | None = None) -> bool:
        """Takes the lock; without `wait`, answers False at once if another process has it.

        Args:
            longest: seconds to wait at most, whatever the holder does; None: for as long as it is at work.

        Raises:
            StoreUnreachable: the time was up, or the holder is stopped; names it, and says what to do.
        """
        stand_in = self._stand_in
        if (stand_in is None or not stand_in.is_waiting) and self._is_free():
            return True
        if wait:
            self._wait(None if longest is None else time.monotonic() + longest)
        return wait

    def _is_free(self) -> bool:
        """Takes the lock if nobody has it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise _unusable(error) from None
        self._waited = None
        return True

    def _wait(self, until: float | None) -> None:
        try:
            stand_in = self._stand_in = self._stand_in or _StandIn(self._fd)
        except RuntimeError:  # no thread can be started any more: the interpreter ends
            self._poll(until)
            return
        if self._waited is None or not stand_in.is_waiting:
            self._waited = _Waited(self._path)
        bell = stand_in.wait_for_me()
        try:
            with shielded.lifted():
                while not bell.acquire(timeout=_SLICE_SECONDS):
                    self._waited.consider(until)
        except BaseException:  # an interruption, perhaps at the very moment when the lock was given
            stand_in.leave_me()
            raise
        self._waited = None
        if stand_in.problem is not None:
            raise _unusable(stand_in.problem)

    def _poll(self, until: float | None) -> None:
        waited = _Waited(self._path)
        while not self._is_free():
            waited.consider(until)
            with shielded.lifted():
                time.sleep(_POLL_SECONDS)

    def release(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def forget(self) -> None:
        """Closes the file. In a forked child this leaves the parent's lock alone, where unlocking would take it away."""
        if self._stand_in is None or self._pid != os.getpid() or self._stand_in.dismiss():
            os.close(self._fd)


class _StandIn:
    """A thread that waits for the lock in the place of others, one at a time, who may stop waiting before it does."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._guard = threading.Lock()
        self._order = threading.Lock()  # given back to have the thread wait for the lock
        self._order.acquire()
        self._bell: threading.Lock | None = None  # of who waits now; none, if that one has left
        self._dismissed = False
        self.is_waiting = False
        self.problem: OSError | None = None
        threading.Thread(target=self._run, name="tidemill-queue", daemon=True).start()

    def wait_for_me(self) -> threading.Lock:
        """Has the thread wait, unless it still does; gives what can be taken when it has the lock."""
        bell = threading.Lock()
        bell.acquire()
        with self._guard:
            self._bell = bell
            if not self.is_waiting:
                self.is_waiting = True
                self._order.release()
        return bell

    def leave_me(self) -> None:
        """Nobody wants the lock any more: it is given back, now or when it comes."""
        with self._guard:
            self._bell = None
            if not self.is_waiting:
                self._give_back()

    def dismiss(self) -> bool:
        """Ends the thread. Whether the file may be closed now; else the thread does that, when its wait is over."""
        with self._guard:
            self._dismissed = True
            if not self.is_waiting:
                self._order.release()
            return not self.is_waiting

    def _run(self) -> None:
        while True:
            self._order.acquire()
            if self._dismissed:
                return
            self._take()
            with self._guard:
                if self._dismissed:
                    os.close(self._fd)
                    return
                if self._bell is None:
                    self._give_back()
                self.is_waiting = False
                bell, self._bell = self._bell, None
            if bell is not None:
                bell.release()

    def _take(self) -> None:
        self.problem = None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except OSError as error:
            self.problem = error

    def _give_back(self) -> None:
        if self.problem is None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)


class _Waited:
    """One stretch of time in which the lock was never had: warns once, and knows when to give up, also for who comes later."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._since = self._looked = time.monotonic()
        self._warned = False

    def consider(self, until: float | None) -> None:
        """To be asked now and then while waiting.

        Raises:
            StoreUnreachable: it is time to give up.
        """
        now = time.monotonic()
        waited = now - self._since
        if until is not None and now >= until:
            raise StoreUnreachable(holder_of(self._path).told(waited))
        if waited < _WARN_AFTER_SECONDS or (self._warned and now - self._looked < 1):
            return
        self._looked = now
        holder = holder_of(self._path)
        if not self._warned:
            self._warned = True
            _logger.warning("%s", holder.told(waited))
        if holder.is_stopped and waited >= _GIVE_UP_AFTER_SECONDS:
            raise StoreUnreachable(holder.told(waited))


def _unusable(error: OSError) -> StoreUnreachable:
    return StoreUnreachable(f"The lock file beside the database cannot be used any more: {error.strerror}.")
