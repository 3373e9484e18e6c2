"""What the metrics tell of the database: asked when somebody reads them, and not each time."""

from __future__ import annotations

import time

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from tidemill import clock
from tidemill.server.access import StoreAccess
from tidemill.server.loops.leading import Loops
from tidemill.store import sizes, statistics
from tidemill.store.statistics import RunCounts

# Counting goes through all runs, so it is done this often at most, and never takes more than a fiftieth of the time.
_COUNTED_EVERY_SECONDS = 15.0
_SHARE = 50
# Of how many flows, those with the most runs, the runs are told apart; those of all others are told together.
_MOST_FLOWS = 50
_OTHERS = "other"


class Observed:
    """Metrics of the database and the loops."""

    def __init__(self, access: StoreAccess) -> None:
        self._access = access
        self._counts: RunCounts | None = None
        self._valid_until = 0.0

    async def metrics(self, loops: Loops) -> list[Metric]:
        """What there is to tell now."""
        began = time.monotonic()
        if self._counts is None or began >= self._valid_until:
            self._counts = await self._access.read(statistics.run_counts, clock.now())
            took = time.monotonic() - began
            self._valid_until = began + max(_COUNTED_EVERY_SECONDS, _SHARE * took)
        size = await self._access.read(sizes.database_bytes, self._access.store.database)
        return [*_told(self._counts), _size(size), *await _loops(loops)]


def _told(counts: RunCounts) -> list[Metric]:
    runs = GaugeMetricFamily("tidemill_flow_runs", "Flow runs by flow and state.", labels=["flow", "state"])
    for (flow, state), number in _bounded(counts.by_flow_and_state).items():
        runs.add_metric([flow, state], number)  # pyright: ignore[reportUnknownMemberType]
    late = GaugeMetricFamily("tidemill_late_flow_runs", "Flow runs that should have begun.", value=counts.late)
    lateness = GaugeMetricFamily(
        "tidemill_lateness_seconds", "For how long the latest run should have been running.", value=counts.lateness / 1e6
    )
    leases = GaugeMetricFamily("tidemill_leases", "Processes that work on runs.", value=counts.leases)
    return [runs, late, lateness, leases]


def _bounded(counts: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """The same with few flows, whatever there are."""
    totals: dict[str, int] = {}
    for (flow, _), number in counts.items():
        totals[flow] = totals.get(flow, 0) + number
    shown = set(sorted(totals, key=lambda flow: (-totals[flow], flow))[:_MOST_FLOWS])
    bounded: dict[tuple[str, str], int] = {}
    for (flow, state), number in counts.items():
        key = (flow if flow in shown else _OTHERS, state)
        bounded[key] = bounded.get(key, 0) + number
    return bounded


def _size(size: int) -> Metric:
    return GaugeMetricFamily("tidemill_database_bytes", "Size of the database.", value=size)


async def _loops(loops: Loops) -> list[Metric]:
    age = GaugeMetricFamily("tidemill_loop_last_tick_age_seconds", "Time since a loop's last tick.", labels=["loop"])
    failing = GaugeMetricFamily("tidemill_loop_failing", "Whether a loop's last tick failed.", labels=["loop"])
    now = clock.to_datetime(clock.now())
    for health in await loops.health():
        since = (now - (health.last_tick or health.started)).total_seconds()
        age.add_metric([health.name], max(since, 0.0))  # pyright: ignore[reportUnknownMemberType]
        failing.add_metric([health.name], float(health.last_error is not None))  # pyright: ignore[reportUnknownMemberType]
    leads = GaugeMetricFamily("tidemill_loops_leader", "Whether this server runs the loops.", value=float(loops.leads))
    return [age, failing, leads]
