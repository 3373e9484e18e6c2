"""Text that can be kept: what UTF-8 cannot hold is shown as escapes, what is too long is cut."""

from __future__ import annotations


def storable(text: str) -> str:
    """The text with whatever cannot be written as UTF-8 (lone surrogates) shown as escapes."""
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
