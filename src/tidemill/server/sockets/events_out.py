"""`/events/out`: tells a client of the events that it asks for, the latest that it missed first."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from litestar import websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.status_codes import WS_1013_TRY_AGAIN_LATER

from tidemill import clock
from tidemill.event_filters import EventFilter, EventOrder, OccurredFilter
from tidemill.server.event_stream import EventListener, FellBehind, frame_of
from tidemill.server.services import Services, TheServices
from tidemill.server.sockets.greeting import Socket, admitted, asked, refuse
from tidemill.server.sockets.telling import tell_until_gone
from tidemill.store import event_history

_BACKFILL = timedelta(minutes=15)
_EVENTS_A_PAGE = 250


class Asked(msgspec.Struct, tag_field="type", tag="filter"):
    filter: EventFilter
    backfill: bool = True


@websocket("/events/out")
async def events_out(socket: Socket, services: TheServices) -> None:
    try:
        if not await admitted(socket, services):
            return
        wanted: Asked | None = await asked(socket, Asked)
    except WebSocketDisconnect:
        return
    if wanted is None:
        return
    filter = _within_backfill(wanted.filter)
    listener = await services.event_stream.listen(filter)
    try:
        await tell_until_gone(socket, _tell(socket, services, listener, filter if wanted.backfill else None))
    finally:
        listener.close()


async def _tell(socket: Socket, services: Services, listener: EventListener, backfill: EventFilter | None) -> None:
    already: set[str] = set()
    if backfill is not None:
        rest = None
        while True:
            found, rest = await services.access.read(event_history.page, backfill, _EVENTS_A_PAGE, rest)
            for event in found:
                already.add(event.id)
                await socket.send_text(frame_of(event))
            if rest is None:
                break
    try:
        while True:
            for event_id, frame in await listener.next():
                if event_id in already:
                    already.discard(event_id)
                else:
                    await socket.send_text(frame)
    except FellBehind:
        await refuse(socket, WS_1013_TRY_AGAIN_LATER, "Events came faster than they were taken; connect again")


def _within_backfill(filter: EventFilter) -> EventFilter:
    """The filter from the earliest time on for which there is a backfill, oldest first."""
    earliest = clock.to_datetime(clock.now()) - _BACKFILL
    occurred = filter.occurred or OccurredFilter()
    since = earliest if occurred.since is None else max(occurred.since, earliest)
    return msgspec.structs.replace(filter, occurred=OccurredFilter(since=since, until=occurred.until), order=EventOrder.ASC)


HANDLERS = [events_out]
