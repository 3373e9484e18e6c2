"""Identifiers: UUID version 7 (RFC 9562), so that ids sort by the time they were made."""

from __future__ import annotations

import re
from random import getrandbits
from time import time_ns

_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62


def new_id() -> str:
    """A fresh id in canonical form.

    Its first 48 bits are milliseconds and the next 12 the fraction of that millisecond (RFC 9562, section 6.2, method 3),
    so ids made in one process sort in the order of their making. `random` seeds itself anew in a forked child.
    """
    milliseconds, nanoseconds = divmod(time_ns(), 1_000_000)
    fraction = (nanoseconds << 12) // 1_000_000
    return _as_text(milliseconds << 80 | _VERSION | fraction << 64 | _VARIANT | getrandbits(62))


def nth_id(base: str, n: int) -> str:
    """The id of the n-th thing that belongs to `base`: always the same, and different for each `n` below 2**32."""
    return _as_text(int(base.replace("-", ""), 16) ^ (n + 1) << 8)


def is_id(text: str) -> bool:
    """Whether `text` is an id in canonical form."""
    return _TEXT.fullmatch(text) is not None


def to_bytes(identifier: str) -> bytes:
    """The 16 bytes of an id. Raises ValueError for anything else."""
    raw = bytes.fromhex(identifier.replace("-", ""))
    if len(raw) != 16:
        raise ValueError(f"{identifier!r} is no id.")
    return raw


def from_bytes(raw: bytes) -> str:
    """The id in canonical form."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _as_text(number: int) -> str:
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
