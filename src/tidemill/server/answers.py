"""Answers that the framework does not make of a value by itself."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from litestar import MediaType, Response

from tidemill.exceptions import ObjectNotFound

T = TypeVar("T")


def json_text(text: str) -> Response[str]:
    """A text as JSON, in quotes; the framework would send it bare."""
    return Response(msgspec.json.encode(text).decode(), media_type=MediaType.JSON)


def existing(record: T | None, message: str) -> T:
    """The record, which must be there: None says that it is not, and False that nothing was done.

    Raises:
        ObjectNotFound: with this message.
    """
    if record is None or record is False:
        raise ObjectNotFound(message)
    return record
