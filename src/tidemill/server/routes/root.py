"""Whether the server is there, and which it is."""

from __future__ import annotations

from litestar import Response, get

from tidemill.server.answers import json_text
from tidemill.server.services import TheStore
from tidemill.server.versions import SPOKEN_VERSION


@get("/health")
async def health() -> bool:
    """True, as long as the server answers."""
    return True


@get("/ready")
async def ready(store: TheStore) -> dict[str, str]:
    """Whether the database answers too; 503 while it does not."""
    await store.read(lambda fetch: fetch("SELECT 1", ()))
    return {"message": "OK"}


@get("/hello")
async def hello() -> Response[str]:
    """A greeting, to see that a client speaks to the right address."""
    return json_text("👋")


@get(["/version", "/admin/version"])
async def version() -> Response[str]:
    """The version of the field's API that is spoken here: a client compares it with its own."""
    return json_text(SPOKEN_VERSION)


HANDLERS = [health, ready, hello, version]
