"""How the server fares: its background loops, and metrics for Prometheus."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response, get

from tidemill.server.services import TheServices
from tidemill.store.loops import LoopHealth


class LoopsTold(msgspec.Struct):
    """The loops as `server` tells of them: whether it is the one that runs them, and how each fares."""

    server: str
    leads: bool
    loops: list[LoopHealth]


@get("/admin/loops")
async def loops(services: TheServices) -> LoopsTold:
    """The background loops, which one of the servers on a database runs for all."""
    return LoopsTold(services.loops.server, services.loops.leads, await services.loops.health())


@get("/metrics", include_in_schema=False)
async def metrics(request: Request[Any, Any, Any], services: TheServices) -> Response[bytes]:
    """Metrics, in the format of Prometheus."""
    observed = await services.observed.metrics(services.loops)
    body, content_type = services.metrics.exposed(observed, request.headers.get("accept", ""))
    return Response(body, headers={"content-type": content_type})


HANDLERS = [loops, metrics]
