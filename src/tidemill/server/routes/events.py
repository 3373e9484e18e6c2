"""Events: what others tell that happened, and what became of flow runs, by time."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.params import JSONBody, QueryParameter

from tidemill.event_filters import Event, EventFilter, Resource, Timestamp
from tidemill.filters import Id
from tidemill.server.access import StoreAccess
from tidemill.server.errors import InvalidRequest
from tidemill.server.frames import MalformedFrame, observation, read_event
from tidemill.server.intake import Told
from tidemill.server.services import TheServices, TheStore
from tidemill.store import event_history

_EVENTS_A_PAGE = 50
PageLimit = Annotated[int, msgspec.Meta(ge=0, le=_EVENTS_A_PAGE)]


class NewEvent(msgspec.Struct, kw_only=True):
    """Something that happened to a resource (the labels say which), perhaps with others beside it, in their roles."""

    occurred: Timestamp
    event: str
    resource: Resource
    related: list[Resource] = []
    payload: dict[str, Any] = {}
    id: Id
    follows: Id | None = None

    def told(self) -> Told:
        """The event as a frame of a websocket tells it."""
        event = read_event(_encode(self))
        return Told(event, observation(event))


class ReceivedEvent(NewEvent, kw_only=True):
    """An event as the server has it."""

    received: Timestamp

    @classmethod
    def of(cls, event: Event) -> ReceivedEvent:
        return cls(
            id=event.id,
            occurred=event.occurred,
            received=event.received or event.occurred,
            event=event.event,
            resource=event.resource,
            related=event.related,
            payload=_decode_payload(event.payload),
            follows=event.follows,
        )


class ReadEvents(msgspec.Struct, kw_only=True):
    filter: EventFilter | None = None
    limit: PageLimit | None = None


class EventPage(msgspec.Struct, kw_only=True):
    """Some events; `next_page` is where the next are, if there are more."""

    events: list[ReceivedEvent]
    total: int
    next_page: str | None


class _Place(msgspec.Struct, array_like=True):
    """What a page's token holds: what was asked for, and how far its reader has come."""

    filter: EventFilter
    limit: int
    total: int
    after: tuple[int, str]


_encode = msgspec.json.Encoder().encode
_decode_payload = msgspec.json.Decoder(dict[str, Any]).decode
_decode_place = msgspec.json.Decoder(_Place).decode


@post("/events", status_code=204)
async def create_events(services: TheServices, data: JSONBody[list[NewEvent]]) -> None:
    """Takes events; those that tell of task runs that their client orchestrates make these task runs."""
    try:
        told = [event.told() for event in data]
    except MalformedFrame as error:
        raise InvalidRequest(f"An event tells what cannot be so: {error}") from None
    for each in told:
        await services.intake.take(each)
    await services.intake.written()


@post("/events/filter", status_code=200)
async def read_events(request: Request[Any, Any, Any], store: TheStore, data: JSONBody[ReadEvents | None] = None) -> EventPage:
    """The first page of the events that the filter asks for."""
    asked = data or ReadEvents()
    filter = asked.filter or EventFilter()
    total = await store.read(event_history.count, filter)
    limit = _EVENTS_A_PAGE if asked.limit is None else asked.limit
    if limit == 0:
        return EventPage(events=[], total=total, next_page=None)
    return await _page(request, store, filter, limit, total, None)


@get("/events/filter/next")
async def read_next_events(
    request: Request[Any, Any, Any], store: TheStore, token: Annotated[str, QueryParameter(name="page-token")]
) -> EventPage:
    """The page that the token of an earlier one leads to."""
    try:
        place = _decode_place(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, binascii.Error):
        raise InvalidRequest("This is no token of a page of events; take next_page as it was given.") from None
    return await _page(request, store, place.filter, place.limit, place.total, place.after)


async def _page(
    request: Request[Any, Any, Any],
    store: StoreAccess,
    filter: EventFilter,
    limit: int,
    total: int,
    after: tuple[int, str] | None,
) -> EventPage:
    found, rest = await store.read(event_history.page, filter, limit, after)
    events = [ReceivedEvent.of(event) for event in found]
    if rest is None:
        return EventPage(events=events, total=total, next_page=None)
    token = base64.urlsafe_b64encode(_encode(_Place(filter, limit, total, rest))).decode()
    return EventPage(events=events, total=total, next_page=f"{request.base_url}api/events/filter/next?page-token={token}")


HANDLERS = [create_events, read_events, read_next_events]
