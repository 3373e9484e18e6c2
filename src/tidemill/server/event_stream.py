"""Events as they happen, for all who listen to them: what others tell, and what becomes of flow runs.

The store is read once for all of them, and only while there are any.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec

from tidemill import clock
from tidemill.event_filters import Event, EventFilter, matches
from tidemill.exceptions import StoreError
from tidemill.server.access import StoreAccess
from tidemill.server.following import FLOW_RUN, RESET, LiveEvent, Selection
from tidemill.server.live import Listener, Live
from tidemill.store import events, state_events

_log = logging.getLogger("tidemill.server")

_EVENTS_AT_ONCE = 500
# Other servers on the same database ring no bell here.
_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_AFTER_ERROR = 1.0
# A state may be committed a while after its time.
_LATE_MICROSECONDS = 60 * 1_000_000
_MOST_REMEMBERED = 50_000
_MOST_WAITING = 10_000

_encode = msgspec.json.Encoder().encode


class FellBehind(Exception):
    """A listener took its events more slowly than they came, and has missed some."""


def frame_of(event: Event) -> bytes:
    """An event as the field's clients are told of it."""
    return b'{"type":"event","event":%b}' % _encode(event)


class EventListener:
    """One who is told of the events that a filter asks for."""

    def __init__(self, stream: EventStream, filter: EventFilter) -> None:
        self._stream = stream
        self._filter = filter
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._bell = asyncio.Event()

    def tell(self, event: Event, frame: bytes) -> None:
        if matches(self._filter, event):
            self._waiting.append((event.id, frame))
            self._bell.set()

    async def next(self) -> Sequence[tuple[str, bytes]]:
        """The next events, at least one: their ids and frames.

        Raises:
            FellBehind: there were too many since the last call.
        """
        await self._bell.wait()
        self._bell.clear()
        if len(self._waiting) > _MOST_WAITING:
            raise FellBehind
        told, self._waiting = self._waiting, deque()
        return told

    def close(self) -> None:
        """It wants to be told no more."""
        self._stream.leave(self)


class EventStream:
    """The live events of a store; to be used in one event loop."""

    def __init__(self, access: StoreAccess, live: Live) -> None:
        self._access = access
        self._live = live
        self._listeners: set[EventListener] = set()
        self._following: list[asyncio.Task[None]] = []
        self._starting = asyncio.Lock()
        self._bell = asyncio.Event()
        self._told: dict[str, None] = {}

    async def listen(self, filter: EventFilter) -> EventListener:
        """Tells somebody of what happens from now on; to be closed by the caller."""
        listener = EventListener(self, filter)
        self._listeners.add(listener)
        try:
            async with self._starting:
                if not self._following:
                    await self._start()
        except BaseException:
            self.leave(listener)
            raise
        return listener

    @property
    def listeners(self) -> int:
        """How many listen at this moment."""
        return len(self._listeners)

    def arrived(self) -> None:
        """There are new events in the store."""
        self._bell.set()

    def leave(self, listener: EventListener) -> None:
        """Nothing is read any more when the last has left."""
        self._listeners.discard(listener)
        if not self._listeners:
            for task in self._following:
                task.cancel()
            self._following = []

    async def _start(self) -> None:
        runs = await self._live.listen(Selection(kinds=[FLOW_RUN]))
        try:
            self._told = dict.fromkeys(await self._access.read(state_events.ids_since, clock.now() - _LATE_MICROSECONDS))
            seq = await self._access.read(events.latest)
        except BaseException:
            runs.close()
            raise
        self._following = [asyncio.create_task(self._follow_events(seq)), asyncio.create_task(self._follow_runs(runs))]

    async def _follow_events(self, seq: int) -> None:
        while True:
            self._bell.clear()
            try:
                found, seq = await self._access.read(events.after, seq, _EVENTS_AT_ONCE)
            except StoreError as error:
                await self._wait_after(error)
                continue
            self._tell(found)
            if not found:
                try:
                    await asyncio.wait_for(self._bell.wait(), _SECONDS_BETWEEN_LOOKS)
                except TimeoutError:
                    pass

    async def _follow_runs(self, runs: Listener) -> None:
        try:
            while found := await runs.next():
                await self._tell_of_runs(found)
        finally:
            runs.close()

    async def _tell_of_runs(self, found: Sequence[LiveEvent]) -> None:
        """Of each run all that has happened to it lately: it may have changed several times since it was told of."""
        since = clock.now() - _LATE_MICROSECONDS
        changed = dict.fromkeys(event.flow_run_id for event in found if event.kind == FLOW_RUN and event.flow_run_id)
        while True:
            try:
                if any(event.kind == RESET for event in found):
                    changed = await self._access.read(state_events.runs_since, since)
                self._tell(await self._access.read(state_events.of_runs, list(changed), since))
                return
            except StoreError as error:
                await self._wait_after(error)

    def _tell(self, found: Iterable[Event]) -> None:
        for event in found:
            if event.id in self._told:
                continue
            self._told[event.id] = None
            frame = frame_of(event)
            for listener in self._listeners:
                listener.tell(event, frame)
        for oldest in list(islice(self._told, max(0, len(self._told) - _MOST_REMEMBERED))):
            del self._told[oldest]

    async def _wait_after(self, error: StoreError) -> None:
        _log.error("What happens cannot be told at the moment, and is tried again: %s", error)
        await asyncio.sleep(_SECONDS_AFTER_ERROR)
