"""Answers that the framework does not make of a value by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar, cast

import msgspec
from litestar import MediaType, Response

from tidemill.exceptions import ObjectNotFound
from tidemill.server.access import StoreAccess
from tidemill.store.rows import Fetch

T = TypeVar("T")
P = ParamSpec("P")


def json_text(text: str) -> Response[str]:
    """A text as JSON, in quotes; the framework would send it bare."""
    return Response(msgspec.json.encode(text).decode(), media_type=MediaType.JSON)


async def read_encoded(store: StoreAccess, query: Callable[Concatenate[Fetch, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The answer of a query, encoded in the thread that reads it: what is large would keep the event loop from others. It is
    given for what it stands for; None stays None."""

    def encoded(fetch: Fetch) -> msgspec.Raw | None:
        answer = query(fetch, *args, **kwargs)
        return None if answer is None else msgspec.Raw(msgspec.json.encode(answer))

    return cast("T", await store.read(encoded))


def existing(record: T | None, message: str) -> T:
    """The record, which must be there: None says that it is not, and False that nothing was done.

    Raises:
        ObjectNotFound: with this message.
    """
    if record is None or record is False:
        raise ObjectNotFound(message)
    return record
