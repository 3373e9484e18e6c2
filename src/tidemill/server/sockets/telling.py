"""How a websocket tells its client of something until the client goes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from litestar.exceptions import WebSocketDisconnect

from tidemill.server.sockets.greeting import Socket, next_frame


async def tell_until_gone(socket: Socket, telling: Coroutine[Any, Any, None]) -> None:
    """Runs `telling` until it ends or the client goes, whichever comes first."""
    told, gone = asyncio.create_task(telling), asyncio.create_task(_gone(socket))
    try:
        await asyncio.wait((told, gone), return_when=asyncio.FIRST_COMPLETED)
        if told.done():
            told.result()
    except (WebSocketDisconnect, OSError):  # it went while something was sent
        pass
    finally:
        told.cancel()
        gone.cancel()
        await asyncio.gather(told, gone, return_exceptions=True)


async def _gone(socket: Socket) -> None:
    """Returns when the client has gone; what it says meanwhile is of no interest."""
    try:
        while True:
            await next_frame(socket)
    except WebSocketDisconnect:
        return
