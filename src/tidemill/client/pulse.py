"""The one background thread of a process: writes what nobody waits for, renews the lease, and looks for what others want."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tidemill.client.recorder import Recorder
from tidemill.exceptions import StoreError

_RETRY_SECONDS = 1.0


class Bell:
    """Wakes a thread that waits for it. Not an Event: a signal handler that records while the same thread is inside
    `Event.set` would wait for itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # taken while nobody has rung
        self._lock.acquire()

    def ring(self) -> None:
        with suppress(RuntimeError):  # it has been rung already
            self._lock.release()

    def wait(self, seconds: float) -> None:
        """Returns when it is rung, or was since the last time, or after so many seconds, which may be infinite."""
        self._lock.acquire(timeout=-1 if seconds == math.inf else min(max(0.0, seconds), threading.TIMEOUT_MAX))


class Pulse:
    """Beats while there is something to do, and sleeps otherwise.

    Args:
        recorder: what it empties: whatever has waited for a whole beat is written.
        renew: called every `renew_seconds` once `start_renewing` was called.
        interval: seconds within which everything recorded is written.
        look: called every `look_seconds` once `start_looking` was called, until it says that there is nothing to look for.
    """

    def __init__(
        self,
        recorder: Recorder,
        renew: Callable[[], None],
        *,
        interval: float,
        renew_seconds: float,
        look: Callable[[], bool] = lambda: False,
        look_seconds: float = 1.0,
    ) -> None:
        self._recorder = recorder
        self._renew = renew
        self._beat = interval / 2
        self._renew_seconds = renew_seconds
        self._next_renewal = math.inf
        self._look = look
        self._look_seconds = look_seconds
        self._next_look = math.inf
        self._bell = Bell()
        self._thread: threading.Thread | None = None
        self._stopped = False
        recorder.wake = self._wake

    def start_renewing(self) -> None:
        """From now on the lease is renewed."""
        if self._next_renewal == math.inf:
            self._next_renewal = time.monotonic() + self._renew_seconds
            self._wake()

    def start_looking(self) -> None:
        """From now on it is looked for what others want of this process."""
        if self._next_look == math.inf:
            self._next_look = time.monotonic() + self._look_seconds
            self._wake()

    def stop(self) -> None:
        self._stopped = True
        self._bell.ring()

    def _wake(self) -> None:
        self._recorder.wake = None
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tidemill-pulse", daemon=True)
            self._thread.start()
        else:
            self._bell.ring()

    def _run(self) -> None:
        while not self._stopped:
            seen = self._recorder.committed
            time.sleep(self._beat)
            if self._stopped:
                return
            try:
                self._attend(seen)
            except StoreError:
                # Whoever waits for a commit gets this error; what waits here is kept and tried again.
                time.sleep(_RETRY_SECONDS)

    def _attend(self, seen: int) -> None:
        """One beat."""
        now = time.monotonic()
        if now >= self._next_renewal:
            self._next_renewal = now + self._renew_seconds
            self._renew()
        if now >= self._next_look:
            self._next_look = math.inf  # first: who wants to be looked for meanwhile sets it
            if self._look():
                self._next_look = now + self._look_seconds
        if self._recorder.waiting:
            if self._recorder.committed == seen:
                self._recorder.flush()
        else:
            self._sleep_until_needed()

    def _sleep_until_needed(self) -> None:
        self._recorder.wake = self._wake
        if not self._recorder.waiting:  # else something was added between the last look and the line above
            due = min(self._next_renewal, self._next_look)
            self._bell.wait(due - time.monotonic())
        self._recorder.wake = None
