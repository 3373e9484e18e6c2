"""Flows at a glance: how their runs went, how long they took, and the last of them.

Summed up in an index alone, which holds of each run only its flow, when it was created, its state and how long it ran. What is
told of one flow run stands in another row; that is read for the last few only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import msgspec

from tidemill import ids
from tidemill.filters import Filters, FlowFilter, FlowSort, Page
from tidemill.records import Flow, milliseconds, seconds
from tidemill.states import COMPLETED, CRASHED, FAILED, TERMINAL_TYPES, StateType
from tidemill.store import reading
from tidemill.store.rows import Fetch
from tidemill.store.summaries import FLOW_RUN_TIME


class ActivitySort(str, Enum):
    """In which order flows come: by name, by their last run (newest first), by their mean time (longest first), or by how many
    of their runs failed or crashed (most first)."""

    NAME = "name"
    LAST_RUN = "last_run"
    SLOWEST = "slowest"
    MOST_FAILED = "most_failed"


class ShownRun(msgspec.Struct, kw_only=True):
    """A flow run as a cell; `seconds` is for how long it ran, up to now if it still does."""

    id: str
    name: str
    state_type: StateType
    state_name: str
    start_ms: float | None
    seconds: float


class FlowActivity(msgspec.Struct, kw_only=True):
    """How the runs of a flow went. `success_rate` is the share of those that completed in those that ended; the times are of
    those that completed, 95 % of which took no longer than `p95_seconds`. `last_runs` ends with the newest."""

    flow_id: str
    name: str
    tags: list[str]
    runs: int
    by_state: dict[StateType, int]
    success_rate: float | None
    mean_seconds: float | None
    p95_seconds: float | None
    last_runs: list[ShownRun]


class ActivityPage(msgspec.Struct, kw_only=True):
    """A page of flows, and how many there are in all."""

    total: int
    flows: list[FlowActivity]


class _Sums:
    """The runs of a flow, summed up. Times are microseconds."""

    def __init__(self) -> None:
        self.by_state: dict[StateType, int] = {}
        self.completed_time = 0
        self.newest = 0

    @property
    def runs(self) -> int:
        return sum(self.by_state.values())

    @property
    def completed(self) -> int:
        return self.by_state.get(COMPLETED, 0)

    @property
    def failed(self) -> int:
        return self.by_state.get(FAILED, 0) + self.by_state.get(CRASHED, 0)

    @property
    def success_rate(self) -> float | None:
        ended = sum(number for type, number in self.by_state.items() if type in TERMINAL_TYPES)
        return self.completed / ended if ended else None

    @property
    def mean_seconds(self) -> float | None:
        return seconds(self.completed_time) / self.completed if self.completed else None


_ORDERS: dict[ActivitySort, Callable[[tuple[Flow, _Sums]], Any]] = {
    ActivitySort.NAME: lambda each: 0,
    ActivitySort.LAST_RUN: lambda each: -each[1].newest,
    ActivitySort.SLOWEST: lambda each: -(each[1].mean_seconds or -1.0),
    ActivitySort.MOST_FAILED: lambda each: -each[1].failed,
}

# More flows than these are not named one by one.
_MOST_NAMED = 200


def activity(
    fetch: Fetch, asked: FlowFilter | None, since: int | None, last: int, sort: ActivitySort, page: Page, now: int
) -> ActivityPage:
    """A page of the flows asked for, with what became of their runs.

    Args:
        since: only runs that were created since then (microseconds).
        last: so many of the last runs of each.
    """
    # Flows of the same rank come by name.
    flows = reading.flows(fetch, Filters(flows=asked), FlowSort.NAME_ASC, Page(None))
    sums = _sums(fetch, [flow.id for flow in flows], since or 0)
    known = [(flow, sums.get(flow.id) or _Sums()) for flow in flows]
    chosen = sorted(known, key=_ORDERS[sort])[page.offset :][: page.limit]
    told = [_told(fetch, flow, of_flow, since or 0, last, now) for flow, of_flow in chosen]
    return ActivityPage(total=len(flows), flows=told)


def last_runs(fetch: Fetch, flow_id: bytes, since: int, last: int, now: int) -> list[ShownRun]:
    """The last runs of a flow, the newest last."""
    rows = fetch(
        f"SELECT id, name, state_type, state_name, start_time, {FLOW_RUN_TIME} FROM flow_run WHERE flow_id = ? "
        "AND created >= ? ORDER BY created DESC, id DESC LIMIT ?",
        (now, now, flow_id, since, last),
    )
    return [
        ShownRun(
            id=ids.from_bytes(id),
            name=name,
            state_type=StateType(type),
            state_name=state_name,
            start_ms=None if start is None else milliseconds(start),
            seconds=seconds(took),
        )
        for id, name, type, state_name, start, took in reversed(rows)
    ]


def _sums(fetch: Fetch, flow_ids: Sequence[str], since: int) -> dict[str, _Sums]:
    """By flow; without those that have no runs."""
    named = [ids.to_bytes(flow_id) for flow_id in flow_ids] if len(flow_ids) <= _MOST_NAMED else []
    of_these = f" AND flow_id IN ({','.join('?' * len(named))})" if named else ""
    rows = fetch(
        "SELECT flow_id, state_type, count(*), sum(total_run_time), max(created) FROM flow_run "
        f"WHERE created >= ?{of_these} GROUP BY flow_id, state_type",
        (since, *named),
    )
    found: dict[bytes, _Sums] = {}
    for flow, type_text, number, time, newest in rows:
        sums, type = found.setdefault(flow, _Sums()), StateType(type_text)
        sums.by_state[type] = number
        sums.newest = max(sums.newest, newest)
        if type is COMPLETED:
            sums.completed_time = int(time)
    return {ids.from_bytes(flow): sums for flow, sums in found.items()}


def _told(fetch: Fetch, flow: Flow, sums: _Sums, since: int, last: int, now: int) -> FlowActivity:
    flow_id = ids.to_bytes(flow.id)
    return FlowActivity(
        flow_id=flow.id,
        name=flow.name,
        tags=flow.tags,
        runs=sums.runs,
        by_state=sums.by_state,
        success_rate=sums.success_rate,
        mean_seconds=sums.mean_seconds,
        p95_seconds=_p95(fetch, flow_id, since, sums.completed),
        last_runs=last_runs(fetch, flow_id, since, last, now),
    )


def _p95(fetch: Fetch, flow_id: bytes, since: int, completed: int) -> float | None:
    """The time (seconds) in which 95 % of the runs completed, of so many."""
    longer = completed * 5 // 100
    rows = fetch(
        "SELECT total_run_time FROM flow_run WHERE flow_id = ? AND created >= ? AND state_type = 'COMPLETED' "
        "ORDER BY total_run_time DESC LIMIT 1 OFFSET ?",
        (flow_id, since, longer),
    )
    return seconds(rows[0][0]) if rows else None
