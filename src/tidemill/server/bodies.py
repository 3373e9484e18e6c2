"""The bodies of requests: how large they may be, and how deeply what they hold may be nested."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tidemill.server.security import Refused

# SQLite's JSON functions take about 1,000; nobody writes so much by hand.
MOST_LEVELS = 200
_PATIENCE_SECONDS = 30.0

Receive = Callable[[], Awaitable[Any]]

_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_WITHOUT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_NO_JSON = ("application/msgpack", "application/x-msgpack", "application/octet-stream")


class BodyTooLarge(Refused):
    """The body of the request is larger than this server accepts (TIDEMILL_SERVER_MAX_BODY). Send less at once."""

    status = 413


class BodyTooDeep(Refused):
    """The JSON in the body is nested more deeply than this server accepts."""

    status = 422


class BodyTooSlow(Refused):
    """The body of the request does not arrive."""

    status = 408


class BodyCutOff(Exception):
    """The client has gone before it has sent the whole body."""


async def checked(
    receive: Receive, length: str | None, kind: str, largest: int, patience: float = _PATIENCE_SECONDS
) -> Receive:
    """Reads a body whole, and gives what hands it on to whoever receives the request.

    Args:
        length: the `Content-Length` of the request; None where it is sent in pieces.
        kind: its `Content-Type`.
        largest: bytes it may have at most.
        patience: seconds to wait for its next piece.

    Raises:
        BodyTooLarge, BodyTooDeep, BodyTooSlow, BodyCutOff
    """
    if length is not None and length.isdigit() and int(length) > largest:
        raise BodyTooLarge
    body = await _read(receive, largest, patience)
    if not kind.startswith(_NO_JSON) and is_deeper(body, MOST_LEVELS):
        raise BodyTooDeep
    handed_on = False

    async def hand_on() -> Any:
        nonlocal handed_on
        if handed_on:
            return await receive()
        handed_on = True
        return {"type": "http.request", "body": body, "more_body": False}

    return hand_on


async def _read(receive: Receive, largest: int, patience: float) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        try:
            async with asyncio.timeout(patience):
                message = await receive()
        except TimeoutError:
            raise BodyTooSlow from None
        if message["type"] == "http.disconnect":
            raise BodyCutOff
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > largest:
            raise BodyTooLarge
    return parts[0] if len(parts) == 1 else b"".join(parts)


def is_deeper(json: bytes, levels: int) -> bool:
    """Whether brackets are nested more deeply than so many levels. Nothing is parsed: that is what the limit protects."""
    if json.count(b"[") + json.count(b"{") <= levels:
        return False
    # What is left of strings when their escapes are gone ends at the next quotation mark. Most hold no brackets, and vanish.
    marks = json.replace(b"\\\\", b"").replace(b'\\"', b"").translate(_TO_SQUARE, _WITHOUT_STRUCTURE)
    nested = b"".join(marks.replace(b'""', b"").split(b'"')[::2])
    for _ in range(levels):
        if not nested:
            return False
        nested = nested.replace(b"[]", b"")
    # What never closes is no JSON, which whoever parses it will say.
    return b"[]" in nested or nested.count(b"[") > levels
