"""The states of flow runs as events, in the words of the field: `prefect.flow-run.<StateName>`.

They are not kept as events: each is made of a state, always in the same way and with that state's id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tidemill import clock
from tidemill.event_filters import RESOURCE_ID, RESOURCE_ROLE, Event, EventFilter, Resource
from tidemill.ids import from_bytes, to_bytes
from tidemill.store.events import Cursor, joined, keyset, named, span
from tidemill.store.filtering import Condition

Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

PREFIX = "prefect.flow-run."
_NAME = f"'{PREFIX}' || state.name"
_FROM = (
    "FROM flow_run_state AS state JOIN flow_run AS run ON run.id = state.flow_run_id JOIN flow ON flow.id = run.flow_id "
    "LEFT JOIN flow_run_state AS earlier ON earlier.flow_run_id = state.flow_run_id AND earlier.seq = state.seq - 1"
)
_COLUMNS = (
    "state.id, state.type, state.name, state.message, state.timestamp, earlier.id, earlier.type, earlier.name, "
    "earlier.message, run.id, run.name, run.attempt, run.tags, flow.id, flow.name"
)
_MOST_IDS_A_QUERY = 500

_encode = msgspec.json.Encoder().encode
_decode_tags = msgspec.json.Decoder(list[str]).decode


def of_runs(fetch: Fetch, flow_run_ids: Sequence[str], since: int) -> list[Event]:
    """What happened to these flow runs from the time `since` (microseconds) on, and what happened to each last; in order."""
    found: list[Event] = []
    for start in range(0, len(flow_run_ids), _MOST_IDS_A_QUERY):
        part = [to_bytes(run_id) for run_id in flow_run_ids[start : start + _MOST_IDS_A_QUERY]]
        recent = "(state.timestamp >= ? OR state.id = run.state_id)"
        condition = f"state.flow_run_id IN ({','.join('?' * len(part))}) AND {recent}"
        rows = fetch(f"SELECT {_COLUMNS} {_FROM} WHERE {condition} ORDER BY state.timestamp", (*part, since))
        found += [_to_event(row) for row in rows]
    return found


def ids_since(fetch: Fetch, since: int) -> list[str]:
    """The ids of what happened to flow runs from the time `since` (microseconds) on."""
    return [from_bytes(row[0]) for row in fetch("SELECT id FROM flow_run_state WHERE timestamp >= ?", (since,))]


def runs_since(fetch: Fetch, since: int) -> dict[str, None]:
    """The ids of the flow runs to which something happened from the time `since` (microseconds) on."""
    rows = fetch("SELECT DISTINCT flow_run_id FROM flow_run_state WHERE timestamp >= ?", (since,))
    return dict.fromkeys(from_bytes(row[0]) for row in rows)


def by_time(fetch: Fetch, filter: EventFilter, start: Cursor | None, limit: int) -> list[Event]:
    """As `events.by_time`, for what happened to flow runs."""
    condition = _condition(filter)
    place, order = keyset(filter.order, "state.timestamp", "state.id", start)
    sql = f"SELECT {_COLUMNS} {_FROM} WHERE {condition.sql} AND {place.sql} ORDER BY {order} LIMIT ?"
    return [_to_event(row) for row in fetch(sql, (*condition.bindings, *place.bindings, limit))]


def count(fetch: Fetch, filter: EventFilter) -> int:
    """How many states of flow runs the filter may ask for."""
    condition = _condition(filter)
    return fetch(f"SELECT count(*) FROM flow_run_state AS state WHERE {condition.sql}", condition.bindings)[0][0]


def _condition(filter: EventFilter) -> Condition:
    conditions = [*span(filter, "state.timestamp"), *named(filter, f"({_NAME})")]
    if filter.id is not None and filter.id.id:
        marks = ",".join("?" * len(filter.id.id))
        conditions.append(Condition(f"state.id IN ({marks})", tuple(to_bytes(identifier) for identifier in filter.id.id)))
    if filter.resource is not None and filter.resource.id:
        conditions.append(_on_runs(filter.resource.id))
    resources = filter.any_resource if isinstance(filter.any_resource, list) else [filter.any_resource]
    named_ids = [each.id for each in resources if each is not None and each.id]
    conditions += [_on_runs(each) for each in named_ids if all(identifier.startswith(PREFIX) for identifier in each)]
    return joined(" AND ", conditions)


def _on_runs(resource_ids: Sequence[str]) -> Condition:
    """On the resource's id; one that is no flow run's has no such events."""
    runs: list[bytes] = []
    for identifier in resource_ids:
        try:
            runs.append(to_bytes(identifier.removeprefix(PREFIX)))
        except ValueError:
            pass
    if not runs:
        return Condition("FALSE")
    return Condition(f"state.flow_run_id IN ({','.join('?' * len(runs))})", tuple(runs))


def _to_event(row: tuple[Any, ...]) -> Event:
    id, type, name, message, timestamp, earlier, earlier_type, earlier_name, earlier_message, *run = row
    run_id, run_name, attempt, tags, flow_id, flow_name = run
    occurred = clock.to_datetime(timestamp)
    related: list[Resource] = [
        {RESOURCE_ID: f"prefect.flow.{from_bytes(flow_id)}", RESOURCE_ROLE: "flow", "prefect.resource.name": flow_name}
    ]
    related += [{RESOURCE_ID: f"prefect.tag.{tag}", RESOURCE_ROLE: "tag"} for tag in sorted(_decode_tags(tags))]
    payload = {
        "intended": {"from": earlier_type, "to": type},
        "initial_state": None if earlier is None else _state(earlier_type, earlier_name, earlier_message),
        "validated_state": _state(type, name, message),
    }
    return Event(
        id=from_bytes(id),
        occurred=occurred,
        received=occurred,
        event=f"{PREFIX}{name}",
        resource={
            RESOURCE_ID: f"{PREFIX}{from_bytes(run_id)}",
            "prefect.resource.name": run_name,
            "prefect.run-count": str(attempt),
            "prefect.state-message": message or "",
            "prefect.state-name": name,
            "prefect.state-timestamp": occurred.isoformat(),
            "prefect.state-type": type,
        },
        related=related,
        payload=msgspec.Raw(_encode(payload)),
        follows=None if earlier is None else from_bytes(earlier),
    )


def _state(type: str, name: str, message: str | None) -> dict[str, str]:
    return {"type": type, "name": name, **({"message": message} if message else {})}
