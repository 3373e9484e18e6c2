"""Keeps the loops going where this process leads, and takes the lead over when the process that had it is gone."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Sequence

from tidemill.server.access import StoreAccess
from tidemill.server.loops.loop import Loop, RunningLoop
from tidemill.store import loops as recorded
from tidemill.store.leadership import Leadership
from tidemill.store.loops import LoopHealth

_log = logging.getLogger("tidemill.server.loops")

# News of a loop are recorded at once, and how it fares otherwise now and then: each is a commit.
_RECORD_SECONDS = 30.0


class Loops:
    """The loops of one server process, which run while it leads.

    Args:
        ask_seconds: how often who leads makes sure that it does, and who does not asks again.
    """

    def __init__(self, loops: Sequence[Loop], access: StoreAccess, leadership: Leadership, *, ask_seconds: float = 5.0) -> None:
        self._ask_seconds = ask_seconds
        self.server = f"{os.uname().nodename}:{os.getpid()}"
        self._loops = loops
        self._access = access
        self._leadership = leadership
        self._running: list[RunningLoop] = []
        self._recorded_at = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def leads(self) -> bool:
        """Whether this process is the one that runs the loops."""
        return bool(self._running)

    async def health(self) -> list[LoopHealth]:
        """How each loop fares: of this process as it is now, of another as it has recorded it."""
        if self.leads:
            return [running.health for running in self._running]
        return await self._access.read(recorded.all_loops)

    async def start(self) -> None:
        """Stands for the lead from now on."""
        self._task = asyncio.create_task(self._stand())

    async def stop(self) -> None:
        """Ends the loops and gives the lead up, so that another may have it at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._end()
        await asyncio.to_thread(self._leadership.release)

    async def _stand(self) -> None:
        while True:
            try:
                if not await asyncio.to_thread(self._leadership.hold):
                    await self._end()
                else:
                    self._begin()
                    await self._record()
            except Exception as error:  # whether it leads is not known, so it does not
                _log.warning("The database cannot be asked which server leads: %s", error)
                await self._end()
            await asyncio.sleep(self._ask_seconds * random.uniform(0.8, 1.2))

    def _begin(self) -> None:
        if self._running:
            return
        self._running = [RunningLoop(loop, self.server) for loop in self._loops]
        for running in self._running:
            running.start()

    async def _end(self) -> None:
        running, self._running = self._running, []
        await asyncio.gather(*(loop.stop() for loop in running))

    async def _record(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._recorded_at < _RECORD_SECONDS and not any(running.has_news for running in self._running):
            return
        self._recorded_at = now
        for running in self._running:
            running.has_news = False
        await self._access.transact(recorded.record, [running.health for running in self._running])
