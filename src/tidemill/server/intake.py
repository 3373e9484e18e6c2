"""What clients tell through their websockets, written by all of them together: few transactions, however many frames."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tidemill import clock
from tidemill.event_filters import Event
from tidemill.exceptions import StoreError, StoreFull, StoreReadOnly, StoreUnreachable
from tidemill.orchestration.observed import Observation, record_observed
from tidemill.server.access import StoreAccess
from tidemill.store import events
from tidemill.store.writing import Execute

_log = logging.getLogger("tidemill.server")

_MOST_SECONDS = 0.05
_ENOUGH = 200
# Who tells more than can be written waits, so that memory does not grow.
_MOST_WAITING = 2000
# What the database refuses only for a while is tried again.
_PASSING = (StoreFull, StoreReadOnly, StoreUnreachable)
_SECONDS_BEFORE_RETRY = 1.0
_TOO_LARGE = "its payload is larger than this server keeps (TIDEMILL_SERVER_MAX_EVENT)."


class Told(NamedTuple):
    """One frame: a state of a task run, or another event."""

    event: Event
    observation: Observation | None


class Intake:
    """Takes what clients tell, and writes it within about 50 ms, many frames at a time.

    Args:
        largest: bytes of an event's payload from which on the event is left out.
        arrived: is called when events other than the states of task runs have been written.
    """

    def __init__(self, access: StoreAccess, largest: int, arrived: Callable[[], None]) -> None:
        self._access = access
        self._largest = largest
        self._arrived = arrived
        self._waiting: list[Told] = []
        self._writing: asyncio.Task[None] | None = None
        self._enough = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._taken = self._done = 0
        self._batch_done = asyncio.Event()
        self._closing = False

    async def take(self, told: Told) -> None:
        """Keeps it to be written soon; waits while too much is waiting."""
        if told.observation is None and len(bytes(told.event.payload)) > self._largest:
            _log.warning("The event %r (%s) is left out: %s", told.event.event, told.event.id, _TOO_LARGE)
            return
        self._waiting.append(told)
        self._taken += 1
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_on())
        if len(self._waiting) < _ENOUGH:
            return
        self._enough.set()
        if len(self._waiting) >= _MOST_WAITING:
            self._room.clear()
            await self._room.wait()

    async def written(self) -> None:
        """Returns when everything that was taken by now is committed."""
        taken = self._taken
        while self._done < taken:
            self._enough.set()
            await self._batch_done.wait()

    async def close(self) -> None:
        """Writes what was taken; what the database does not take now is given up."""
        self._closing = True
        await self.written()

    async def _write_on(self) -> None:
        """Writes until nothing is waiting."""
        try:
            while self._waiting:
                await self._gather()
                batch, self._waiting = self._waiting, []
                self._enough.clear()
                self._room.set()
                await self._write(batch)
                self._done += len(batch)
                done, self._batch_done = self._batch_done, asyncio.Event()
                done.set()
        finally:
            self._writing = None

    async def _gather(self) -> None:
        if len(self._waiting) >= _ENOUGH or self._closing:
            return
        try:
            await asyncio.wait_for(self._enough.wait(), _MOST_SECONDS)
        except TimeoutError:
            pass

    async def _write(self, batch: Sequence[Told]) -> None:
        complained = False
        while True:
            try:
                lost = await self._access.transact(_record, batch, clock.now())
            except _PASSING as error:
                if not complained:
                    _log.error("What clients tell of their task runs cannot be written, and waits: %s", error)
                    complained = True
                if self._closing:
                    _log.error("%d frames of clients were not written.", len(batch))
                    return
                await asyncio.sleep(_SECONDS_BEFORE_RETRY)
            except Exception as error:
                await self._write_apart(batch, error)
                return
            else:
                if any(told.observation is None for told in batch):
                    self._arrived()
                for told in lost:
                    _log.debug("Task run %s is of flow run %s, which is not there.", told.id, told.flow_run_id)
                return

    async def _write_apart(self, batch: Sequence[Told], error: Exception) -> None:
        """One frame that cannot be kept does not take the others with it."""
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._write(batch[:middle])
            await self._write(batch[middle:])
            return
        reason = error if isinstance(error, StoreError) else repr(error)
        _log.warning("The event %r (%s) cannot be kept: %s", batch[0].event.event, batch[0].event.id, reason)


def _record(execute: Execute, batch: Sequence[Told], now: int) -> list[Observation]:
    others = [told.event for told in batch if told.observation is None]
    if others:
        events.insert(execute, others, now)
    return record_observed(execute, [told.observation for told in batch if told.observation is not None])
