"""The thread that ships a journal: in order, again and again until the server has taken everything.

Of the processes on a machine that write the same journal one ships at a time, for all.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tidemill import clock
from tidemill.client.http import ServerConnection
from tidemill.client.pulse import Bell
from tidemill.client.shipping import Shipping
from tidemill.exceptions import ServerRefused, StoreError, StoreUnreachable
from tidemill.records import Refusals
from tidemill.store import Store, open_store
from tidemill.store.filelock import FileLock

# What nobody waits for is shipped so long after it was recorded, so that a loop of tasks goes in few shipments.
_PAUSE_SECONDS = 0.5
_FIRST_PAUSE_SECONDS = 0.05
# Between tries while the server is down; the longest, too, while somebody waits for it.
_FIRST_RETRY_SECONDS = 0.1
_LONGEST_RETRY_SECONDS = 10.0
_LONGEST_RETRY_WAITED_FOR_SECONDS = 1.0
_RETRY_AFTER_REFUSAL_SECONDS = 10.0
# How often it is looked what another process has shipped.
_LOOK_SECONDS = 0.2
_LOOK_WAITED_FOR_SECONDS = 0.02
_TIDY_SECONDS = 60.0
_FIRST_BEAT_SECONDS = 1.0
_MOST_SECONDS_TO_STOP = 2.0

_log = logging.getLogger("tidemill")


class Shipper:
    """Ships the journal in the file at `path`.

    Args:
        beat: called now and then, to tell the server that this process lives; says in how many seconds again.
        refused: called with the flow runs of which the server has refused something.

    Attributes:
        shipped: the number of the last change that the server is known to have.
    """

    def __init__(
        self,
        path: str,
        server: ServerConnection,
        lease_seconds: float,
        beat: Callable[[], float],
        refused: Callable[[Refusals], None],
    ) -> None:
        self._path = path
        self._server = server
        self._lease_seconds = lease_seconds
        self._beat = beat
        self._refused = refused
        self.shipped = 0
        self.error: str | None = None
        self._set_up()

    def _set_up(self) -> None:
        # A connection of its own: what it reads delays no commit of this process.
        self._store: Store = open_store(self._path, durability="process")
        self._shipping = Shipping(self._store, self._server, self._lease_seconds)
        self._lock: FileLock | None = None
        self._bell = Bell()
        self._thread: threading.Thread | None = None
        self._to_be_started = threading.Lock()  # taken by who starts the thread, for ever
        self._stopped = False
        self._noted = False
        self._waiters: list[Bell] = []
        self._tries = 0
        self._failures = 0
        self._down_since: float | None = None
        self._is_refused = False
        self._next_try = 0.0
        self._next_beat = math.inf
        self._next_tidying = time.monotonic() + _TIDY_SECONDS

    def note(self) -> None:
        """Something was recorded."""
        if not self._noted:
            self._noted = True
            self._next_try = max(self._next_try, time.monotonic() + _FIRST_PAUSE_SECONDS)
            self._wake()

    def begin_beating(self) -> None:
        """From now on this process works on runs, and the server is told that it lives."""
        if self._next_beat == math.inf:
            self._next_beat = time.monotonic() + _FIRST_BEAT_SECONDS
            self._wake()

    def settle(self, goal: int, seconds: float) -> bool:
        """Returns when the server has everything up to the change `goal`, and says so; or when it has not within so many
        seconds, or there is no prospect of it: the server refuses, or has been down for as long already."""
        bell, tries, until = Bell(), self._tries, time.monotonic() + seconds
        self._waiters.append(bell)
        self._next_try = min(self._next_try, time.monotonic())
        try:
            while self.shipped < goal:
                self._noted = True
                self._wake()
                left = until - time.monotonic()
                if left <= 0 or self._stopped or (self._tries > tries and self._is_hopeless(seconds)):
                    return False
                bell.wait(min(left, _LOOK_SECONDS))
            return True
        finally:
            self._waiters.remove(bell)

    def stop(self) -> None:
        """Ends the thread, which may be in the middle of a request."""
        self._stopped = True
        self._bell.ring()
        thread = self._thread
        if thread is not None:
            with suppress(RuntimeError):  # it could not be started
                thread.join(_MOST_SECONDS_TO_STOP)
        else:
            self._store.database.close()

    def after_fork(self) -> None:
        """In a forked child: begins anew, with a thread and connections of its own."""
        if self._lock is not None:
            self._lock.forget()
        self._set_up()

    def _is_hopeless(self, seconds: float) -> bool:
        return self._is_refused or (self._down_since is not None and time.monotonic() > self._down_since + seconds)

    def _wake(self) -> None:
        if self._thread is None and not self._stopped and self._to_be_started.acquire(blocking=False):
            self._thread = threading.Thread(target=self._run, name="tidemill-shipper", daemon=True)
            with suppress(RuntimeError):  # the interpreter ends: the next process ships it
                self._thread.start()
        self._bell.ring()

    def _run(self) -> None:
        try:
            while not self._stopped:
                self._bell.wait(self._rest())
                if not self._stopped:
                    self._attend()
        finally:
            self._store.database.close()
            if self._lock is not None:
                self._lock.forget()

    def _rest(self) -> float:
        """Seconds until there is something to do."""
        now = time.monotonic()
        due = self._next_beat
        if self._noted:
            due = min(due, self._next_try)
            if self._waiters:
                due = min(due, now + self._pause_while_waited_for())
        return due - now

    def _pause_while_waited_for(self) -> float:
        return _LOOK_WAITED_FOR_SECONDS if self._failures == 0 else self._next_try - time.monotonic()

    def _attend(self) -> None:
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + self._beat()
        due = self._next_try if self._failures else (now if self._waiters else self._next_try)
        if self._noted and now >= due:
            self._try()

    def _try(self) -> None:
        try:
            lock = self._lock = self._lock or FileLock(self._path + ".shipping")
            if lock.acquire(wait=False):
                try:
                    self._noted = False
                    self._ship()
                finally:
                    lock.release()
            else:
                self._follow_other()
        except StoreError as error:
            self._failed(error)
        except Exception as error:  # the thread goes on: it beats for this process, too
            _log.exception("The journal %s could not be shipped; it is tried again.", self._path)
            self._failed(StoreError(str(error)))
        self._tries += 1
        for bell in list(self._waiters):
            bell.ring()

    def _ship(self) -> None:
        """Ships what there is by now. What is recorded meanwhile comes after a pause: together, not in small pieces."""
        goal = self._shipping.latest()
        while not self._stopped:
            refused = self._shipping.ship()
            if self._stopped:
                return
            self._succeeded()
            self._refused(refused or {})
            if refused is None or self.shipped >= goal:
                break
            if time.monotonic() >= self._next_beat:
                self._next_beat = time.monotonic() + self._beat()
        if time.monotonic() >= self._next_tidying:
            self._next_tidying = time.monotonic() + _TIDY_SECONDS
            self._shipping.forget_ended()

    def _succeeded(self) -> None:
        progress = self._shipping.progress()
        self.shipped = progress.shipped.change if progress is not None else 0
        self._failures = 0
        self._down_since = self.error = None
        self._is_refused = False
        self._next_try = time.monotonic() + _PAUSE_SECONDS
        for bell in list(self._waiters):
            bell.ring()

    def _follow_other(self) -> None:
        """Another process ships: sees how far it is, and whether it meets with errors."""
        progress = self._shipping.progress()
        now = time.monotonic()
        self._next_try = now + _LOOK_SECONDS
        if progress is None:
            return
        self.shipped = progress.shipped.change
        self._noted = self.shipped < self._shipping.latest()
        self.error = progress.last_error
        self._down_since = None if self.error is None else now - (clock.now() - progress.updated) / 1_000_000

    def _failed(self, error: StoreError) -> None:
        self._noted = True
        self._failures += 1
        now = time.monotonic()
        self._down_since = self._down_since or now
        self._is_refused = isinstance(error, ServerRefused)
        longest = _LONGEST_RETRY_WAITED_FOR_SECONDS if self._waiters else _LONGEST_RETRY_SECONDS
        pause = min(longest, _FIRST_RETRY_SECONDS * 2 ** min(self._failures, 16))
        if self._is_refused:
            pause = _RETRY_AFTER_REFUSAL_SECONDS
        self._next_try = now + pause * random.uniform(0.5, 1.0)
        if isinstance(error, StoreUnreachable | ServerRefused) and self.error != str(error):
            self.error = str(error)
            with suppress(StoreError):
                self._shipping.note_error(self.error)
