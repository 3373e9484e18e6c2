"""Limits on concurrency and on rates, by name; slots of them are taken, held under leases and given back."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from litestar import delete, get, patch, post
from litestar.exceptions import HTTPException
from litestar.params import FromPath, JSONBody

from tidemill import clock
from tidemill.filters import Id
from tidemill.orchestration import limits as slots_of
from tidemill.orchestration.limits import Denied, Granted, LeaseTerms
from tidemill.server.answers import existing
from tidemill.server.errors import Conflict, InvalidRequest
from tidemill.server.listing import Piece, page_of
from tidemill.server.parameters import UUID_PATTERN, PathId
from tidemill.server.services import TheServices, TheStore
from tidemill.side_records import ConcurrencyLimit, ConcurrencyLimitChange, LeaseHolder, LimitInShort, NewConcurrencyLimit
from tidemill.store import limits
from tidemill.store.filtering import Condition
from tidemill.store.rows import Execute, Fetch

_NO_LIMIT = "There is no such concurrency limit; POST /api/v2/concurrency_limits/filter lists them."
_LEASE_GONE = "This lease has expired or was ended, and others may have its slots. Ask for slots again."
_LEASE_SECONDS = 300.0

Slots = Annotated[int, msgspec.Meta(gt=0, le=2**31 - 1)]
Names = Annotated[list[str], msgspec.Meta(min_length=1, max_length=1000)]
LeaseSeconds = Annotated[float, msgspec.Meta(ge=60, le=86400)]
Mode = Literal["concurrency", "rate_limit"]


class TakeSlots(msgspec.Struct, kw_only=True):
    names: Names
    slots: Slots
    mode: Mode | None = None

    @property
    def at_a_rate(self) -> bool:
        return self.mode == "rate_limit"


class TakeSlotsWithLease(TakeSlots, kw_only=True):
    lease_duration: LeaseSeconds | None = None
    holder: LeaseHolder | None = None


class GiveSlotsBack(msgspec.Struct, kw_only=True):
    names: Names
    slots: Slots
    occupancy_seconds: Annotated[float, msgspec.Meta(gt=0, le=1e9)] | None = None


class RenewLease(msgspec.Struct, kw_only=True):
    lease_duration: LeaseSeconds | None = None


class ReleaseLease(msgspec.Struct, kw_only=True):
    lease_id: Id


class LeasedSlots(msgspec.Struct, kw_only=True):
    """Slots were taken of these limits; the lease is to be renewed, and given back."""

    lease_id: str
    limits: list[LimitInShort]


@post("/v2/concurrency_limits")
async def create_limit(store: TheStore, data: JSONBody[NewConcurrencyLimit]) -> ConcurrencyLimit:
    """Creates a limit; 409 if there is one of its name."""
    made = await store.transact(limits.create, data, clock.now())
    if made is None:
        raise _taken(data.name)
    return made


@get("/v2/concurrency_limits/{id_or_name:str}")
async def read_limit(store: TheStore, id_or_name: FromPath[str]) -> ConcurrencyLimit:
    """The limit of this id or name."""
    return existing(await store.read(_read, id_or_name, clock.now()), _NO_LIMIT)


@post("/v2/concurrency_limits/filter", status_code=200)
async def read_limits(store: TheStore, services: TheServices, data: JSONBody[Piece | None] = None) -> list[ConcurrencyLimit]:
    """A page of the limits, by name."""
    asked = data or Piece()
    return await store.read(limits.limits, clock.now(), page_of(services, asked.limit, asked.offset))


@patch("/v2/concurrency_limits/{id_or_name:str}", status_code=204)
async def change_limit(store: TheStore, id_or_name: FromPath[str], data: JSONBody[ConcurrencyLimitChange]) -> None:
    """Changes what is named of a limit. Fewer active slots than leases hold end those leases."""
    existing(await store.transact(_change, id_or_name, data, clock.now()), _NO_LIMIT)


@delete("/v2/concurrency_limits/{id_or_name:str}")
async def delete_limit(store: TheStore, id_or_name: FromPath[str]) -> None:
    """Removes a limit, and ends the leases of its slots."""
    existing(await store.transact(_delete, id_or_name, clock.now()), _NO_LIMIT)


@post("/v2/concurrency_limits/increment", status_code=200)
async def take_slots(store: TheStore, data: JSONBody[TakeSlots]) -> list[LimitInShort]:
    """Takes slots of all the limits that exist of these names, until they are given back; 423 with Retry-After if one has too
    few that are free."""
    now = clock.now()
    return _granted(await store.transact(slots_of.take_slots, data.names, data.slots, now, at_a_rate=data.at_a_rate)).limits


@post("/v2/concurrency_limits/increment-with-lease", status_code=200)
async def take_slots_with_lease(store: TheStore, data: JSONBody[TakeSlotsWithLease]) -> LeasedSlots:
    """The same under a lease: when it ends, because it is given back or not renewed in time, others can have the slots."""
    terms = LeaseTerms(data.lease_duration or _LEASE_SECONDS, data.holder)
    granted = _granted(
        await store.transact(slots_of.take_slots, data.names, data.slots, clock.now(), terms=terms, at_a_rate=data.at_a_rate)
    )
    return LeasedSlots(lease_id=granted.lease_id or "", limits=granted.limits)


@post("/v2/concurrency_limits/decrement", status_code=200)
async def give_slots_back(store: TheStore, data: JSONBody[GiveSlotsBack]) -> list[LimitInShort]:
    """Gives back slots that were taken without a lease."""
    occupancy = data.occupancy_seconds
    return await store.transact(slots_of.give_slots_back, data.names, data.slots, clock.now(), occupancy)


@post("/v2/concurrency_limits/leases/{lease_id:str}/renew", status_code=204)
async def renew_lease(store: TheStore, lease_id: PathId, data: JSONBody[RenewLease | None] = None) -> None:
    """Keeps a lease from expiring; 410 if it has expired or was ended."""
    seconds = (data or RenewLease()).lease_duration or _LEASE_SECONDS
    if not await store.transact(slots_of.renew_lease, lease_id, seconds, clock.now()):
        raise HTTPException(detail=_LEASE_GONE, status_code=410)


@post("/v2/concurrency_limits/decrement-with-lease", status_code=204)
async def release_lease(store: TheStore, data: JSONBody[ReleaseLease]) -> None:
    """Ends a lease, so that others can have its slots. One that has ended already is none to complain of."""
    await store.transact(slots_of.release_lease, data.lease_id, clock.now())


def _granted(answer: Granted | Denied) -> Granted:
    if isinstance(answer, Granted):
        return answer
    if answer.retry_after is None:
        raise InvalidRequest(answer.reason)
    raise full(answer)


def full(denied: Denied) -> HTTPException:
    """The answer to who gets no slot now, and may ask again later."""
    headers = None if denied.retry_after is None else {"Retry-After": f"{denied.retry_after:.3f}"}
    return HTTPException(detail=denied.reason, status_code=423, headers=headers)


def _find(fetch: Fetch, id_or_name: str, now: int) -> Condition | None:
    """Which limit is meant: one may have a name that looks like an id."""
    ways = [limits.of_name(id_or_name)]
    if re.search(UUID_PATTERN, id_or_name):
        ways.insert(0, limits.of_id(id_or_name))
    return next((way for way in ways if limits.limit(fetch, way, now) is not None), None)


def _read(fetch: Fetch, id_or_name: str, now: int) -> ConcurrencyLimit | None:
    which = _find(fetch, id_or_name, now)
    return None if which is None else limits.limit(fetch, which, now)


def _change(execute: Execute, id_or_name: str, changed: ConcurrencyLimitChange, now: int) -> bool:
    which = _find(limits.fetching(execute), id_or_name, now)
    if which is None:
        return False
    if changed.name is not None and limits.is_taken(execute, changed.name, which):
        raise _taken(changed.name)
    return limits.change(execute, which, changed, now)


def _delete(execute: Execute, id_or_name: str, now: int) -> bool:
    which = _find(limits.fetching(execute), id_or_name, now)
    return which is not None and limits.delete(execute, which)


def _taken(name: str) -> Conflict:
    return Conflict(f"There is a concurrency limit {name!r} already; change it with PATCH /api/v2/concurrency_limits/{name}.")


HANDLERS = [
    create_limit,
    read_limit,
    read_limits,
    change_limit,
    delete_limit,
    take_slots,
    take_slots_with_lease,
    give_slots_back,
    renew_lease,
    release_lease,
]
