"""Numbers about everything there is, for who watches over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


class RunCounts(NamedTuple):
    """How many flow runs there are by the names of flow and state, how many should have begun but have not, and for how long
    (microseconds) that one should have been running that is latest; and how many processes work on runs."""

    by_flow_and_state: dict[tuple[str, str], int]
    late: int
    lateness: int
    leases: int


def run_counts(fetch: Fetch, now: int) -> RunCounts:
    """The counts at the time `now` (microseconds). Goes through all flow runs."""
    rows = fetch(
        "SELECT flow.name, counted.state_type, counted.number FROM "
        "(SELECT flow_id, state_type, count(*) AS number FROM flow_run GROUP BY flow_id, state_type) AS counted "
        "JOIN flow ON flow.id = counted.flow_id",
        (),
    )
    waiting = "FROM flow_run WHERE state_type = 'SCHEDULED' AND +expected_start_time < ?"
    ((late, first),) = fetch(f"SELECT count(*), min(expected_start_time) {waiting}", (now,))
    ((leases,),) = fetch("SELECT count(*) FROM lease", ())
    return RunCounts({(flow, state): number for flow, state, number in rows}, late, now - first if late else 0, leases)
