"""Events: what others tell that happened, and which of them a reader asks for. The shapes are those of the REST API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from typing import Annotated, NamedTuple, TypeVar, cast

import msgspec

from tidemill import ids
from tidemill.filters import Id

T = TypeVar("T")
Resource = dict[str, str]
RESOURCE_ID = "prefect.resource.id"
RESOURCE_ROLE = "prefect.resource.role"

Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]


class Event(msgspec.Struct, kw_only=True, gc=False):
    """Something that happened to a resource (the labels say which), perhaps with others beside it, in their roles."""

    occurred: Timestamp
    event: str
    resource: Resource
    related: list[Resource] = []
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    id: Id
    follows: Id | None = None
    received: Timestamp | None = None

    def __post_init__(self) -> None:
        if not self.resource.get(RESOURCE_ID):
            raise ValueError(f"The resource of an event has the label {RESOURCE_ID}.")
        if not ids.is_id(self.id):
            self.id = ids.from_bytes(ids.to_bytes(self.id))


class _Filter(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class EventOrder(str, Enum):
    ASC = "ASC"
    DESC = "DESC"


class OccurredFilter(_Filter):
    """On when it happened; both ends are part of the span. A time without a zone is UTC."""

    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        self.since = _in_utc(self.since)
        self.until = _in_utc(self.until)


class EventNameFilter(_Filter):
    """On what happened: one of these names or beginnings, and none of those."""

    prefix: list[str] | None = None
    exclude_prefix: list[str] | None = None
    name: list[str] | None = None
    exclude_name: list[str] | None = None


# A label's value or values: `*` at the end stands for anything, `!` at the beginning for "not".
Labels = dict[str, str | list[str]]


class EventResourceFilter(_Filter):
    """On the resource; `distinct` (only the latest event of each) is accepted, and asks for nothing here."""

    id: list[str] | None = None
    id_prefix: list[str] | None = None
    labels: Labels | None = None
    distinct: bool = False


class EventRelatedFilter(_Filter):
    """On the related resources: one of them is as asked."""

    id: list[str] | None = None
    role: list[str] | None = None
    resources_in_roles: list[tuple[str, str]] | None = None
    labels: Labels | None = None


class EventAnyResourceFilter(_Filter):
    """On the resource and the related ones together: one of them is as asked."""

    id: list[str] | None = None
    id_prefix: list[str] | None = None
    labels: Labels | None = None


class EventIdFilter(_Filter):
    id: list[Id] | None = None


class EventTextFilter(_Filter):
    """On all that an event says, in either case: any of the words, no `-word`."""

    query: Annotated[str, msgspec.Meta(max_length=200)]


class EventFilter(_Filter):
    occurred: OccurredFilter | None = None
    event: EventNameFilter | None = None
    resource: EventResourceFilter | None = None
    related: EventRelatedFilter | list[EventRelatedFilter] | None = None
    any_resource: EventAnyResourceFilter | list[EventAnyResourceFilter] | None = None
    id: EventIdFilter | None = None
    text: EventTextFilter | None = None
    order: EventOrder = EventOrder.DESC


def matches(filter: EventFilter, event: Event) -> bool:
    """Whether the filter asks for the event."""
    return (
        _in_time(filter.occurred, event.occurred)
        and _named(filter.event, event.event)
        and (filter.id is None or not filter.id.id or event.id in filter.id.id)
        and (filter.resource is None or _is_resource(filter.resource, event.resource))
        and all(_any(partial(_is_related, each), event.related) for each in _all_of(filter.related))
        and all(_any(partial(_is_resource, each), [event.resource, *event.related]) for each in _all_of(filter.any_resource))
        and (filter.text is None or _says(filter.text.query, event))
    )


def _in_utc(when: datetime | None) -> datetime | None:
    return when.replace(tzinfo=UTC) if when is not None and when.tzinfo is None else when


def _in_time(filter: OccurredFilter | None, occurred: datetime) -> bool:
    if filter is None:
        return True
    return (filter.since is None or occurred >= filter.since) and (filter.until is None or occurred <= filter.until)


def _named(filter: EventNameFilter | None, name: str) -> bool:
    if filter is None:
        return True
    if name in (filter.exclude_name or ()) or name.startswith(tuple(filter.exclude_prefix or ())):
        return False
    wanted = bool(filter.name or filter.prefix)
    return not wanted or name in (filter.name or ()) or name.startswith(tuple(filter.prefix or ()))


def _is_resource(filter: EventResourceFilter | EventAnyResourceFilter, resource: Resource) -> bool:
    identifier = resource.get(RESOURCE_ID, "")
    return (
        (not filter.id or identifier in filter.id)
        and (not filter.id_prefix or identifier.startswith(tuple(filter.id_prefix)))
        and _has_labels(filter.labels, resource)
    )


def _is_related(filter: EventRelatedFilter, resource: Resource) -> bool:
    identifier, role = resource.get(RESOURCE_ID, ""), resource.get(RESOURCE_ROLE, "")
    return (
        (not filter.id or identifier in filter.id)
        and (not filter.role or role in filter.role)
        and (not filter.resources_in_roles or (identifier, role) in filter.resources_in_roles)
        and _has_labels(filter.labels, resource)
    )


def _has_labels(labels: Labels | None, resource: Resource) -> bool:
    return all(_has_label(resource.get(label), [v] if isinstance(v, str) else v) for label, v in (labels or {}).items())


class _Pattern(NamedTuple):
    start: str
    is_whole: bool

    @classmethod
    def of(cls, text: str) -> _Pattern:
        return cls(text[:-1], False) if text.endswith("*") else cls(text, True)

    def fits(self, value: str) -> bool:
        return value == self.start if self.is_whole else value.startswith(self.start)


def _has_label(value: str | None, wanted: list[str]) -> bool:
    if value is None:
        return False
    unwanted = [_Pattern.of(text[1:]) for text in wanted if text.startswith("!")]
    patterns = [_Pattern.of(text) for text in wanted if not text.startswith("!")]
    return not any(pattern.fits(value) for pattern in unwanted) and (
        not patterns or any(pattern.fits(value) for pattern in patterns)
    )


def _says(query: str, event: Event) -> bool:
    said = f"{event.event} {' '.join(_values([event.resource, *event.related]))} {bytes(event.payload).decode()}".lower()
    words = query.lower().split()
    wanted = [word for word in words if not word.startswith("-")]
    unwanted = [word[1:] for word in words if word.startswith("-") and len(word) > 1]
    return not any(word in said for word in unwanted) and (not wanted or any(word in said for word in wanted))


def _values(resources: Iterable[Mapping[str, str]]) -> Iterable[str]:
    return (value for resource in resources for value in resource.values())


def _any(asked: Callable[[Resource], bool], resources: Iterable[Resource]) -> bool:
    return any(map(asked, resources))


def _all_of(filters: T | list[T] | None) -> list[T]:
    if filters is None:
        return []
    return cast("list[T]", filters) if isinstance(filters, list) else [filters]
