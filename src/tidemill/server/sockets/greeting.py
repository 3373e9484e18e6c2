"""How a websocket begins: the client says who it is, before anything else."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect
from litestar.status_codes import WS_1002_PROTOCOL_ERROR, WS_1008_POLICY_VIOLATION, WS_1013_TRY_AGAIN_LATER

from tidemill.exceptions import StoreError
from tidemill.server.services import Services

Socket = WebSocket[Any, Any, Any]

SUBPROTOCOL = "prefect"
_PATIENCE_SECONDS = 30.0


_log = logging.getLogger("tidemill.server")


class _Auth(msgspec.Struct, tag_field="type", tag="auth"):
    token: str | None = None


_decode_auth = msgspec.json.Decoder(_Auth).decode
_SUCCESS = '{"type":"auth_success"}'


async def admitted(socket: Socket, services: Services) -> bool:
    """Accepts the connection if its client may use the server; else closes it, with the reason.

    A client that does not speak the subprotocol says nothing of itself, and is accepted where nobody needs to.
    """
    if SUBPROTOCOL not in socket.scope["subprotocols"]:
        await socket.accept()
        return await _allowed(socket, services, None)
    await socket.accept(SUBPROTOCOL)
    try:
        auth = _decode_auth(await asyncio.wait_for(next_frame(socket), _PATIENCE_SECONDS))
    except (ValueError, TimeoutError):
        await refuse(socket, WS_1008_POLICY_VIOLATION, "Expected 'auth' message")
        return False
    if not await _allowed(socket, services, auth.token):
        return False
    await socket.send_text(_SUCCESS)
    return True


async def asked(socket: Socket, kind: type[Any]) -> Any:
    """What the client asks for in its first frame; None, once the connection is closed, if it does not ask properly.

    Args:
        kind: a struct that is told apart by `type` = "filter".
    """
    try:
        return msgspec.json.decode(await asyncio.wait_for(next_frame(socket), _PATIENCE_SECONDS), type=kind)
    except msgspec.ValidationError as error:
        await refuse(socket, WS_1002_PROTOCOL_ERROR, f"Invalid filter: {error}")
    except (ValueError, TimeoutError):
        await refuse(socket, WS_1002_PROTOCOL_ERROR, "Expected 'filter' message")
    return None


async def next_frame(socket: Socket) -> str | bytes:
    """What the client says next.

    Raises:
        WebSocketDisconnect: it has gone.
    """
    message: Any = await socket.receive()
    if message["type"] != "websocket.receive":
        raise WebSocketDisconnect(detail="The client has gone.", code=message.get("code", 1006))
    return message.get("text") or message.get("bytes") or ""


async def refuse(socket: Socket, code: int, reason: str) -> None:
    """Closes the connection; a reason has at most 123 bytes there."""
    await socket.close(code, reason.encode()[:123].decode(errors="ignore"))


async def _allowed(socket: Socket, services: Services, token: str | None) -> bool:
    try:
        if await services.security.admits_socket(socket.scope, token):
            return True
    except StoreError as error:  # it is not known who the client is
        _log.error("CONNECT %s: %s", socket.scope["path"], error)
        await refuse(socket, WS_1013_TRY_AGAIN_LATER, str(error))
        return False
    await refuse(socket, WS_1008_POLICY_VIOLATION, "This server needs a token, or its name and password, that may do this.")
    return False
