"""The one background thread of a process: writes what nobody waits for, and renews the lease."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tidemill.client.recorder import Recorder
from tidemill.exceptions import StoreError

_RETRY_SECONDS = 1.0


class Pulse:
    """Beats while there is something to do, and sleeps otherwise.

    Args:
        recorder: what it empties: whatever has waited for a whole beat is written.
        renew: called every `renew_seconds` while `renewing` is set.
        interval: seconds within which everything recorded is written.
    """

    def __init__(self, recorder: Recorder, renew: Callable[[], None], *, interval: float, renew_seconds: float) -> None:
        self.renewing = False
        self._recorder = recorder
        self._renew = renew
        self._beat = interval / 2
        self._renew_seconds = renew_seconds
        self._next_renewal = 0.0
        # Taken while there is nothing to do, and given back to wake the thread. Not an Event: a signal handler that records
        # while the same thread is inside `Event.set` would wait for itself.
        self._bell = threading.Lock()
        self._bell.acquire()
        self._thread: threading.Thread | None = None
        self._stopped = False
        recorder.wake = self._wake

    def start_renewing(self) -> None:
        """From now on the lease is renewed."""
        if not self.renewing:
            self.renewing = True
            self._next_renewal = time.monotonic() + self._renew_seconds
            self._wake()

    def stop(self) -> None:
        self._stopped = True
        self._ring()

    def _wake(self) -> None:
        self._recorder.wake = None
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tidemill-pulse", daemon=True)
            self._thread.start()
        else:
            self._ring()

    def _ring(self) -> None:
        with suppress(RuntimeError):  # it has been rung already
            self._bell.release()

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
        if self.renewing and now >= self._next_renewal:
            self._next_renewal = now + self._renew_seconds
            self._renew()
        if self._recorder.waiting:
            if self._recorder.committed == seen:
                self._recorder.flush()
        else:
            self._sleep_until_needed()

    def _sleep_until_needed(self) -> None:
        self._recorder.wake = self._wake
        if not self._recorder.waiting:  # else something was added between the last look and the line above
            rest = max(0.0, self._next_renewal - time.monotonic()) if self.renewing else -1
            self._bell.acquire(timeout=min(rest, threading.TIMEOUT_MAX))
        self._recorder.wake = None
