"""`/events/in`: what clients tell that happened, the states of their task runs among it."""

from __future__ import annotations

import logging

from litestar import websocket
from litestar.exceptions import WebSocketDisconnect

from tidemill.server.frames import MalformedFrame, observation, read_event
from tidemill.server.intake import Told
from tidemill.server.services import TheServices
from tidemill.server.sockets.greeting import Socket, admitted, next_frame

_log = logging.getLogger("tidemill.server")


@websocket("/events/in")
async def events_in(socket: Socket, services: TheServices) -> None:
    malformed = 0
    try:
        if not await admitted(socket, services):
            return
        while True:
            frame = await next_frame(socket)
            try:
                event = read_event(frame)
                await services.intake.take(Told(event, observation(event)))
            except MalformedFrame as error:
                malformed += 1
                if malformed == 1:
                    _log.warning("A client's event cannot be read, and is left out: %s", error)
    except WebSocketDisconnect:
        pass
    finally:
        if malformed > 1:
            _log.warning("%d events of a client could not be read, and were left out.", malformed)
        await services.intake.written()


HANDLERS = [events_in]
