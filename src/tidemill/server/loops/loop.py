"""One background loop: what it does, how often, and how it fares. It never ends by itself, whatever happens in it."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tidemill import clock
from tidemill.exceptions import StoreError
from tidemill.store.loops import LoopHealth

_log = logging.getLogger("tidemill.server.loops")

# So that several loops do not tick together for ever.
_JITTER = 0.1
_LONGEST_PAUSE_SECONDS = 300.0
_LONGEST_ERROR = 500


@dataclass(frozen=True)
class Loop:
    """What is done every so often.

    Attributes:
        interval: seconds between the end of a tick and the beginning of the next.
        tick: does it once.
        first_after: seconds before the first tick.
    """

    name: str
    interval: float
    tick: Callable[[], Awaitable[object]]
    first_after: float = 0.0


class RunningLoop:
    """A loop that is kept going.

    Args:
        server: the process that does it, by host and process id.
    """

    def __init__(self, loop: Loop, server: str) -> None:
        self.loop = loop
        self.health = LoopHealth(
            name=loop.name, server=server, interval_seconds=loop.interval, started=clock.to_datetime(clock.now())
        )
        # Whether something has changed that others should know at once: it has begun, failed, or does so no more.
        self.has_news = True
        self._failures_in_row = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"loop {self.loop.name}")

    async def stop(self) -> None:
        """Ends it, also in the middle of a tick: what that has given to the store is finished there."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def tick(self) -> None:
        """Does it once, and notes how it went."""
        began, health = time.perf_counter(), self.health
        try:
            await self.loop.tick()
        except Exception as error:
            health.failures += 1
            self._failures_in_row += 1
            self._note(f"{type(error).__name__}: {error}"[:_LONGEST_ERROR], error)
        else:
            self._failures_in_row = 0
            self._note(None, None)
        self.has_news |= health.ticks == 0
        health.ticks += 1
        health.last_seconds = round(time.perf_counter() - began, 6)
        health.last_tick = clock.to_datetime(clock.now())

    @property
    def pause(self) -> float:
        """Seconds until the next tick: after failures ever longer, up to five minutes."""
        longest = max(self.loop.interval, _LONGEST_PAUSE_SECONDS)
        return min(self.loop.interval * 2 ** min(self._failures_in_row, 20), longest)

    def _note(self, told: str | None, error: Exception | None) -> None:
        before, self.health.last_error = self.health.last_error, told
        if (told is None) == (before is None):
            return
        self.has_news = True
        if error is not None:  # once; it is tried again, and may fail as often
            unexpected = None if isinstance(error, StoreError) else error  # of which the place says more than its words
            _log.error("Loop '%s' fails, and will be tried again: %s", self.loop.name, told, exc_info=unexpected)
        else:
            _log.info("Loop '%s' works again.", self.loop.name)

    async def _run(self) -> None:
        await asyncio.sleep(self.loop.first_after)
        while True:
            await self.tick()
            await asyncio.sleep(self.pause * random.uniform(1 - _JITTER, 1 + _JITTER))
