"""Values to bytes and back.

Plain values (numbers, text, and small lists and dicts of them) are written as JSON, which people and the page can read;
everything else is pickled, by cloudpickle where the standard pickle cannot. The name of the way is kept beside the bytes.
"""

from __future__ import annotations

import pickle
from math import isfinite
from typing import Any

import msgspec

from tidemill.exceptions import SerializationError

_PICKLE_PROTOCOL = 5
# A value with more parts than this is pickled: looking at each part to see whether JSON gives it back exactly would cost
# more than it is worth.
_MOST_PLAIN_PARTS = 100
_LARGEST_INT = 2**63

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def dump(value: Any) -> tuple[str, bytes]:
    """The serializer's name and the bytes.

    Raises:
        SerializationError: neither pickle nor cloudpickle can write the value; says of what type it is, and why.
    """
    if _is_plain(value, _MOST_PLAIN_PARTS) >= 0:
        try:
            return "json", _encode(value)
        except UnicodeEncodeError:  # text that is no Unicode
            pass
    return "pickle", dump_pickle(value)


def dump_pickle(value: Any) -> bytes:
    """The value, pickled.

    Raises:
        SerializationError
    """
    try:
        return pickle.dumps(value, protocol=_PICKLE_PROTOCOL)
    except Exception as first:  # pickle raises whatever a value's own methods raise
        import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

        try:
            return cloudpickle.dumps(value, protocol=_PICKLE_PROTOCOL)  # pyright: ignore[reportUnknownMemberType]
        except Exception:
            name = type(value).__qualname__
            raise SerializationError(f"a value of type {name} cannot be pickled ({first})") from None


def load(serializer: str, data: bytes) -> Any:
    """The value that `dump` wrote.

    Raises:
        SerializationError: the bytes do not give a value, or there is no serializer of that name.
    """
    try:
        if serializer == "json":
            return _decode(data)
        if serializer == "pickle":
            return pickle.loads(data)
    except Exception as error:  # unpickling runs the value's own code
        raise SerializationError(f"The kept value cannot be read back: {type(error).__name__}: {error}") from error
    raise SerializationError(f"There is no serializer {serializer!r}; known are 'json' and 'pickle'.")


def _is_plain(value: Any, parts: int) -> int:
    """How many of the allowed parts are left if JSON gives the value back exactly; -1 if it does not or is too large."""
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    if value is None or kind is bool or kind is str:
        return parts - 1
    if kind is int:
        return parts - 1 if -_LARGEST_INT <= value < _LARGEST_INT else -1
    if kind is float:
        return parts - 1 if isfinite(value) else -1
    if kind is list:
        members: Any = value
    elif kind is dict:
        if any(type(key) is not str for key in value):
            return -1
        members = value.values()
    else:
        return -1
    if len(members) > parts:
        return -1
    for member in members:
        parts = _is_plain(member, parts - 1)
        if parts < 0:
            return -1
    return parts
