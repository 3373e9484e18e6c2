"""Flows at a glance, for pages: how their runs went, and their last runs beside each other."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import JSONBody, QueryParameter

from tidemill import clock
from tidemill.filters import FlowFilter, Id, IdFilter, NameFilter, Page
from tidemill.server.answers import existing
from tidemill.server.parameters import Offset, PathId
from tidemill.server.requests import microseconds
from tidemill.server.routes.flows import NO_FLOW
from tidemill.server.services import TheStore
from tidemill.store import activity, grids
from tidemill.store.activity import ActivityPage, ActivitySort
from tidemill.store.grids import Grid

_MOST_RUNS = 100
_MOST_FLOWS = 200

_Last = Annotated[int, QueryParameter(ge=0, le=_MOST_RUNS, description="So many of the last runs.")]


class ActivityQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which flows: all, those of these ids, or those with this in their names, in either case. `since` leaves older runs out,
    `last` is how many of the last runs of each are given."""

    flow_ids: Annotated[list[Id], msgspec.Meta(max_length=_MOST_FLOWS)] | None = None
    name_like: str | None = None
    since: datetime | None = None
    last: Annotated[int, msgspec.Meta(ge=0, le=_MOST_RUNS)] = 25
    limit: Annotated[int, msgspec.Meta(ge=0, le=_MOST_FLOWS)] = 50
    offset: Offset = 0
    sort: ActivitySort = ActivitySort.NAME


@post("/ui/flows/activity", status_code=200)
async def read_activity(store: TheStore, data: JSONBody[ActivityQuery | None] = None) -> ActivityPage:
    """A page of flows, with how their runs went, how long they took, and their last runs; `total` is how many flows there are
    in all."""
    asked = data or ActivityQuery()
    which = FlowFilter(
        id=IdFilter(any_=list(asked.flow_ids)) if asked.flow_ids is not None else None,
        name=NameFilter(like_=asked.name_like) if asked.name_like else None,
    )
    since = microseconds(asked.since) if asked.since is not None else None
    page = Page(asked.limit, asked.offset)
    return await store.read(activity.activity, which, since, asked.last, asked.sort, page, clock.now())


@get("/ui/flows/{flow_id:str}/grid")
async def read_grid(store: TheStore, flow_id: PathId, last: _Last = 30) -> Grid:
    """The last runs of a flow, oldest first, and for each of its tasks what became of it in each of them."""
    return existing(await store.read(grids.grid, flow_id, last, clock.now()), NO_FLOW)


HANDLERS = [read_activity, read_grid]
