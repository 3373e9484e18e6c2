"""What happens, told live: one thread reads the store for all listeners of this process, and only while there are any.

It puts the events into a ring, from which each listener takes what it selected, at its own speed. A listener that has fallen
out of the ring, or comes from further back, reads on from the store page by page until it is in the ring again: the events
and their ids are the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from bisect import bisect_right
from collections.abc import AsyncGenerator
from operator import attrgetter

from tidemill.exceptions import StoreError
from tidemill.server import following
from tidemill.server.access import StoreAccess
from tidemill.server.following import EventPage, LiveEvent, Position, Pruned, Selection
from tidemill.store import Database

_log = logging.getLogger("tidemill.server")

_EVENTS_A_PAGE = 500
# What a listener takes; one that does not read its connection keeps them in memory.
_EVENTS_AT_ONCE = 100
_EVENTS_IN_RING = 4000
_BYTES_IN_RING = 16 * 1024 * 1024
# If the first listener comes from no further back, the reader begins where that one is: after the server has started anew
# all who come back find what they missed in the ring.
_CHANGES_TO_REPEAT = 1000
_SECONDS_A_WAIT = 0.25
# Even if no change is told of: should one ever go unnoticed, it is late, and not lost.
_SECONDS_BETWEEN_READS = 5.0
_SECONDS_AFTER_ERROR = 1.0
_EVERYTHING = Selection()
_position_of = attrgetter("position")


class Ring:
    """The newest events: all from `start` to `end`."""

    def __init__(self, start: Position) -> None:
        self.start = self.end = start
        self._events: list[LiveEvent] = []
        self._bytes = 0

    def add(self, page: EventPage, size: int) -> None:
        """Adds what comes next, of so many bytes, and forgets what is oldest where that is too much."""
        self._events += page.events
        self._bytes += size
        self.end = page.position
        gone = 0
        while len(self._events) - gone > _EVENTS_IN_RING or self._bytes > _BYTES_IN_RING:
            self._bytes -= len(self._events[gone].frame)
            gone += 1
        if gone:
            self.start = self._events[gone - 1].position
            del self._events[:gone]

    def after(self, position: Position) -> EventPage:
        """The next events after a position that is not before `start`."""
        first = bisect_right(self._events, position, key=_position_of)
        found = self._events[first : first + _EVENTS_AT_ONCE]
        is_last = first + len(found) == len(self._events)
        return EventPage(found, max(position, self.end if is_last else found[-1].position))


class Live:
    """The live events of a store; to be used in one event loop.

    Args:
        stopping: set when the server is asked to stop. Then every listener is told so, by getting no more events.
    """

    def __init__(self, access: StoreAccess, stopping: asyncio.Event) -> None:
        self._access = access
        self._stopping = stopping
        self._ending: asyncio.Task[None] | None = None
        self._listeners: set[Listener] = set()
        self._reader: Reader | None = None
        self._former: list[Reader] = []
        self._database: Database | None = None
        self.closed = False

    async def subscribe(self, selection: Selection | None = None, after: str | None = None) -> AsyncGenerator[LiveEvent]:
        """The events selected (all of them if nothing else is said), as they happen, until the server stops.

        Args:
            after: the id of an event, or a listener's position, to go on from; without it, from now on.
        """
        listener = await self.listen(selection, after)
        try:
            while not self.closed:
                for event in await listener.next():
                    yield event
        finally:
            listener.close()

    async def listen(self, selection: Selection | None = None, after: str | None = None) -> Listener:
        """The same for who takes events many at a time; to be closed by the caller."""
        selection = selection or Selection()
        position = await self._position_after(after)
        if selection.include_subflows:
            await self._access.read(selection.with_subflows)
        if self._ending is None:
            self._ending = asyncio.create_task(self._end_with_the_server())
        while self._reader is None and not self.closed:
            start = await self._start_for(position)
            if self._reader is None:  # nobody was quicker
                self._reader = Reader(self._own_database(), start)
        listener = Listener(self, self._access, selection, position)
        self._listeners.add(listener)
        return listener

    @property
    def listeners(self) -> int:
        """How many listen at this moment."""
        return len(self._listeners)

    @property
    def reader(self) -> Reader | None:
        """Who reads for the listeners, if there are any."""
        return self._reader

    async def _position_after(self, id: str | None) -> Position | None:
        if id is None:
            return await self._latest()
        position = Position.parse(id)
        is_known = position is not None and await self._access.read(following.is_known, position)
        return position if is_known else None

    async def _start_for(self, position: Position | None) -> Position:
        kind = self._access.store.database.kind
        if position is not None and await self._access.read(following.is_near, kind, position, _CHANGES_TO_REPEAT):
            return position
        return await self._latest()

    async def _latest(self) -> Position:
        return await self._access.read(following.latest, self._access.store.database.kind)

    def _own_database(self) -> Database:
        """One that waits for no writer of this process, and sees what they commit."""
        if self._database is None:
            self._database = self._access.open_another().database
        return self._database

    def leave(self, listener: Listener) -> None:
        """Nothing is read any more when the last has left."""
        self._listeners.discard(listener)
        if not self._listeners and self._reader is not None:
            self._reader.stop()
            self._former = [*(reader for reader in self._former if reader.reads), self._reader]
            self._reader = None

    async def close(self) -> None:
        """Ends every listener, and waits until nothing is read any more."""
        self._end()
        if self._ending is not None:
            self._ending.cancel()
        for reader in filter(None, [*self._former, self._reader]):
            await asyncio.to_thread(reader.join)

    async def _end_with_the_server(self) -> None:
        await self._stopping.wait()
        self._end()

    def _end(self) -> None:
        self.closed = True
        if self._reader is not None:
            self._reader.stop()
            self._reader.bell.set()


class Reader:
    """The thread that reads for all, from a position on."""

    def __init__(self, database: Database, start: Position) -> None:
        self.ring = Ring(start)
        self.bell = asyncio.Event()
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()
        self._taken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tidemill-live", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._taken.set()

    @property
    def reads(self) -> bool:
        """Whether it has not ended yet; it does soon after it was stopped."""
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        position = self.ring.start
        failed = False
        while not self._stopped.is_set():
            try:
                page = self._next(position)
                failed = False
            except StoreError as error:
                if not failed:
                    _log.error("Nothing can be told live at the moment, and is tried again: %s", error)
                failed = True
                self._stopped.wait(_SECONDS_AFTER_ERROR)
                continue
            if page is not None:
                position = page.position
                self._hand_over(page, sum(len(event.frame) for event in page.events))

    def _next(self, position: Position) -> EventPage | None:
        """What comes next; None if there is nothing, and then waits until there is."""
        kind = self._database.kind
        try:
            page = following.next_page(self._database.fetch, kind, position, _EVENTS_A_PAGE, _EVERYTHING)
        except Pruned:
            latest = following.latest(self._database.fetch, kind)
            return EventPage([following.reset(latest)], latest)
        if page.position != position:
            return page
        until = time.monotonic() + _SECONDS_BETWEEN_READS
        while not self._stopped.is_set() and not self._database.wait_for_change(_SECONDS_A_WAIT):
            if time.monotonic() > until:
                break
        return None

    def _hand_over(self, page: EventPage, size: int) -> None:
        """Gives a page to the event loop, and waits until every listener that was waiting for it has taken it: who reads is
        not faster than those who are told."""
        self._taken.clear()
        try:
            self._loop.call_soon_threadsafe(self._add, page, size)
        except RuntimeError:  # the loop has been closed
            self._stopped.set()
        while not self._stopped.is_set() and not self._taken.wait(_SECONDS_A_WAIT):
            pass

    def _add(self, page: EventPage, size: int) -> None:
        if self._stopped.is_set():
            return
        self.ring.add(page, size)
        bell, self.bell = self.bell, asyncio.Event()
        bell.set()
        self._after_turns(3)

    def _after_turns(self, turns: int) -> None:
        """Listeners are woken in the loop's next turn, and take their events in the one after."""
        if turns:
            self._loop.call_soon(self._after_turns, turns - 1)
        else:
            self._taken.set()


class Listener:
    """One who is told. `position` is how far it has come, what it did not select included."""

    def __init__(self, live: Live, access: StoreAccess, selection: Selection, position: Position | None) -> None:
        self._live = live
        self._access = access
        self._selection = selection
        self._position = position

    @property
    def position(self) -> str:
        """What to go on from later, if not from the last event's id; empty for who is told first that it cannot go on."""
        return "" if self._position is None else str(self._position)

    async def next(self, seconds: float | None = None) -> list[LiveEvent]:
        """The next events that were selected, at least one; none if there were none in so many seconds, or when the server
        stops. A `reset` stands for everything that cannot be told any more."""
        loop = asyncio.get_running_loop()
        deadline = None if seconds is None else loop.time() + seconds
        while not self._live.closed and (reader := self._live.reader) is not None:
            bell = reader.bell
            before = self._position
            chosen = await self._advance(reader.ring)
            if chosen:
                return chosen
            if deadline is not None and loop.time() >= deadline:
                return []
            if self._position == before:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        await bell.wait()
        return []

    async def _advance(self, ring: Ring) -> list[LiveEvent]:
        """Goes on by a page; gives what was selected of it."""
        if self._position is None:
            self._position = ring.end
            return [following.reset(ring.end)]
        if self._position >= ring.start:
            page = ring.after(self._position)
            self._position = page.position
            return [event for event in page.events if self._selection.wants(event)]
        kind = self._access.store.database.kind
        try:
            page = await self._access.read(following.next_page, kind, self._position, _EVENTS_AT_ONCE, self._selection)
        except Pruned:
            self._position = None
            return []
        self._position = page.position
        return page.events

    def close(self) -> None:
        """It wants to be told no more."""
        self._live.leave(self)
