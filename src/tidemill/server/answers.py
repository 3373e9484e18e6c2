"""Answers that the framework does not make of a value by itself."""

from __future__ import annotations

import msgspec
from litestar import MediaType, Response


def json_text(text: str) -> Response[str]:
    """A text as JSON, in quotes; the framework would send it bare."""
    return Response(msgspec.json.encode(text).decode(), media_type=MediaType.JSON)
