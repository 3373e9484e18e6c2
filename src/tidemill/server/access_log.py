"""The access log: a line for each request, as text or as one JSON object. No body, no header, no secret gets into it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import parse_qsl, quote

import msgspec

_log = logging.getLogger("tidemill.server.access")

_SENSITIVE = ("token", "secret", "password", "auth", "key", "credential")
_LONGEST_QUERY = 500
_encode = msgspec.json.Encoder().encode


class Answered(NamedTuple):
    """A request that has been answered."""

    method: str
    path: str
    query: bytes
    # The path as the API has it, with the names of what varies; None if there is no such path.
    route: str | None
    status: int
    seconds: float
    user: str | None
    address: str


def _nothing(answered: Answered) -> None:
    pass


def _text(answered: Answered) -> None:
    _log.info(
        "%s %s %d %.1f ms %s %s",
        answered.method,
        _target(answered),
        answered.status,
        answered.seconds * 1000,
        answered.user or "-",
        answered.address,
    )


def _json(answered: Answered) -> None:
    line = {
        "method": answered.method,
        "route": answered.route,
        "target": _target(answered),
        "status": answered.status,
        "ms": round(answered.seconds * 1000, 3),
        "user": answered.user,
        "address": answered.address,
    }
    _log.info("%s", _encode(line).decode())


def _target(answered: Answered) -> str:
    """Path and query, on one line, without values that may be secret."""
    path = quote(answered.path, safe="/:@!$&'()*+,;=~")
    return f"{path}?{_shown(answered.query)}" if answered.query else path


def _shown(query: bytes) -> str:
    pairs = parse_qsl(query[:_LONGEST_QUERY].decode(errors="replace"), keep_blank_values=True)
    return "&".join(f"{quote(name)}={'***' if _is_sensitive(name) else quote(value)}" for name, value in pairs)


def _is_sensitive(name: str) -> bool:
    return any(word in name.lower() for word in _SENSITIVE)


WRITERS: dict[str, Callable[[Answered], None]] = {"off": _nothing, "text": _text, "json": _json}
