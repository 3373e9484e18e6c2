"""A short text that is the same for equal values, in every process and whatever objects happen to be shared."""

from __future__ import annotations

import hashlib
from typing import Any, cast

from tidemill.serializers import dump_pickle

_ATOMS = frozenset({int, str, float, bool, bytes, type(None)})


def fingerprint(value: Any) -> str:
    """32 hex digits that identify the value.

    Containers are walked, so that neither the order of a set nor the sharing of objects matters; leaves of other types
    are pickled.

    Raises:
        SerializationError: some part of the value cannot be pickled.
    """
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()[:32]


def fingerprint_of_atoms(values: dict[str, Any]) -> str:
    """The same for a dict of numbers and short texts, the inputs of most calls, at a fraction of the cost: the text of such
    a dict tells it from others."""
    return hashlib.sha256(repr(values).encode(errors="surrogatepass")).hexdigest()[:32]


def is_atom(value: Any) -> bool:
    """Whether a value is a number, a text, bytes or None."""
    return type(value) in _ATOMS


def _feed(digest: Any, value: Any) -> None:
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind in _ATOMS:
        digest.update(f"{kind.__name__}:{value!r};".encode(errors="surrogatepass"))
    elif kind is list or kind is tuple:
        digest.update(f"{kind.__name__}[{len(value)};".encode())
        for member in value:
            _feed(digest, member)
    elif kind is dict:
        digest.update(f"dict[{len(value)};".encode())
        for key, member in cast("dict[Any, Any]", value).items():
            _feed(digest, key)
            _feed(digest, member)
    elif kind is set or kind is frozenset:
        digest.update(f"{kind.__name__}[{len(value)};".encode())
        for text in sorted(fingerprint(member) for member in value):
            digest.update(text.encode())
    else:
        digest.update(f"{kind.__module__}.{kind.__qualname__};".encode())
        digest.update(dump_pickle(value))
