"""Limits on how many task runs with a tag run at once, as the field's older clients know them.

They are the limits of `concurrency_limits_v2` that are named `tag:<tag>`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath, JSONBody

from tidemill import clock
from tidemill.filters import Id
from tidemill.orchestration import limits as slots_of
from tidemill.orchestration.limits import Denied
from tidemill.server.answers import existing
from tidemill.server.listing import Piece, page_of
from tidemill.server.parameters import PathId
from tidemill.server.routes.concurrency_limits_v2 import Names, full
from tidemill.server.services import TheServices, TheStore
from tidemill.side_records import TAG_PREFIX, Count, LimitInShort, LimitName, TagLimit
from tidemill.store import limits
from tidemill.store.filtering import Condition
from tidemill.store.rows import Execute

_NO_LIMIT = "There is no such concurrency limit on a tag; POST /api/concurrency_limits/filter lists them."


class NewTagLimit(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    tag: LimitName
    concurrency_limit: Count


class TagSlots(msgspec.Struct, kw_only=True):
    names: Names
    task_run_id: Id


class ResetTag(msgspec.Struct, kw_only=True):
    slot_override: Annotated[list[Id], msgspec.Meta(max_length=10_000)] | None = None


@post("/concurrency_limits")
async def keep_tag_limit(store: TheStore, data: JSONBody[NewTagLimit]) -> Response[TagLimit]:
    """Limits a tag (201), in place of the limit that it has (200)."""
    kept, is_new = await store.transact(limits.keep_tag_limit, data.tag, data.concurrency_limit, clock.now())
    return Response(kept, status_code=201 if is_new else 200)


@get("/concurrency_limits/{limit_id:str}")
async def read_tag_limit(store: TheStore, limit_id: PathId) -> TagLimit:
    """The limit of this id."""
    return existing(await store.read(limits.tag_limit, limits.of_id(limit_id), clock.now()), _NO_LIMIT)


@get("/concurrency_limits/tag/{tag:str}")
async def read_tag_limit_by_tag(store: TheStore, tag: FromPath[str]) -> TagLimit:
    """The limit on this tag."""
    return existing(await store.read(limits.tag_limit, _of_tag(tag), clock.now()), _NO_LIMIT)


@post("/concurrency_limits/filter", status_code=200)
async def read_tag_limits(store: TheStore, services: TheServices, data: JSONBody[Piece | None] = None) -> list[TagLimit]:
    """A page of the limits on tags, by tag."""
    asked = data or Piece()
    return await store.read(limits.tag_limits, clock.now(), page_of(services, asked.limit, asked.offset))


@post("/concurrency_limits/tag/{tag:str}/reset", status_code=200)
async def reset_tag_limit(store: TheStore, tag: FromPath[str], data: JSONBody[ResetTag | None] = None) -> None:
    """Takes the slots from whoever has them, and gives them to the task runs that are named."""
    chosen = (data or ResetTag()).slot_override or []
    existing(await store.transact(slots_of.reset_tag, tag, chosen, clock.now()), _NO_LIMIT)


@delete("/concurrency_limits/{limit_id:str}", status_code=200)
async def delete_tag_limit(store: TheStore, limit_id: PathId) -> None:
    """Removes a limit on a tag."""
    existing(await store.transact(_delete, limits.of_id(limit_id), clock.now()), _NO_LIMIT)


@delete("/concurrency_limits/tag/{tag:str}", status_code=200)
async def delete_tag_limit_by_tag(store: TheStore, tag: FromPath[str]) -> None:
    """Removes the limit on a tag."""
    existing(await store.transact(_delete, _of_tag(tag), clock.now()), _NO_LIMIT)


@post("/concurrency_limits/increment", status_code=200)
async def take_tag_slots(store: TheStore, data: JSONBody[TagSlots]) -> list[LimitInShort]:
    """Gives a task run a slot of each limit on these tags; 423 if one has none that is free, and no Retry-After if it never
    will."""
    taken = await store.transact(slots_of.take_tag_slots, data.names, data.task_run_id, clock.now())
    if isinstance(taken, Denied):
        raise full(taken)
    return taken.limits


@post("/concurrency_limits/decrement", status_code=200)
async def give_tag_slots_back(store: TheStore, data: JSONBody[TagSlots]) -> list[LimitInShort]:
    """Takes the slots back that a task run has of the limits on these tags."""
    return await store.transact(slots_of.give_tag_slots_back, data.names, data.task_run_id, clock.now())


def _of_tag(tag: str) -> Condition:
    return limits.of_name(TAG_PREFIX + tag)


def _delete(execute: Execute, which: Condition, now: int) -> bool:
    is_on_tag = limits.tag_limit(limits.fetching(execute), which, now) is not None
    return is_on_tag and limits.delete(execute, which)


HANDLERS = [
    keep_tag_limit,
    read_tag_limit,
    read_tag_limit_by_tag,
    read_tag_limits,
    reset_tag_limit,
    delete_tag_limit,
    delete_tag_limit_by_tag,
    take_tag_slots,
    give_tag_slots_back,
]
