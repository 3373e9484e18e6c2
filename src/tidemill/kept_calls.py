"""What a flow run was called with, where its parameters as JSON do not say all: a pair of a serializer's name and bytes.

Two names stand for something else than a serializer: `unkept`, where the arguments could not be kept, and `changed`, where they
are those of another run, some of which somebody has given other values. Who changes them need not be able to read the others.
"""

from __future__ import annotations

from typing import Any

import msgspec

KeptCall = tuple[str, bytes]

_UNKEPT = "unkept"
_CHANGED = "changed"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, bytes, bytes]).decode
_decode_changes = msgspec.json.Decoder(dict[str, Any]).decode


def unkept(reason: str) -> KeptCall:
    """Stands for arguments that could not be kept."""
    return _UNKEPT, reason.encode()


def why_unkept(call: KeptCall) -> str | None:
    """Why the arguments could not be kept; None: they are."""
    return call[1].decode() if call[0] == _UNKEPT else None


def changed(call: KeptCall, values: dict[str, Any]) -> KeptCall:
    """The same call, in which these parameters have other values."""
    original, before = as_called(call)
    return _CHANGED, _encode((*original, msgspec.json.encode({**before, **values})))


def as_called(call: KeptCall) -> tuple[KeptCall, dict[str, Any]]:
    """The arguments as they were serialized, and the values that have been given to some of them since."""
    if call[0] != _CHANGED:
        return call, {}
    serializer, data, values = _decode(call[1])
    return (serializer, data), _decode_changes(values)
