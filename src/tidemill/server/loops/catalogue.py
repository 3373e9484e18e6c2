"""Which loops a server has."""

from __future__ import annotations

import logging
from functools import partial

from tidemill import clock
from tidemill.orchestration import forget_old_changes, processes, reclaim_lost_runs
from tidemill.orchestration.late_runs import mark_late_runs
from tidemill.server.access import StoreAccess
from tidemill.server.loops.loop import Loop
from tidemill.server.loops.retention import Retention
from tidemill.server.metrics import Metrics
from tidemill.settings import Settings
from tidemill.store import events, leases, limits
from tidemill.store.reading import Fetch

_log = logging.getLogger("tidemill.server.loops")

_EVENTS_KEPT_MICROSECONDS = 7 * 24 * 60 * 60 * 1_000_000
_MOST_EVENTS_AT_ONCE = 5_000


def all_loops(access: StoreAccess, settings: Settings, metrics: Metrics) -> list[Loop]:
    """Every loop of a server on this store."""
    return [
        Loop("lost-runs", 5.0, partial(_reclaim_lost_runs, access, metrics)),
        Loop("late-runs", 10.0, partial(_mark_late_runs, access), first_after=1.0),
        Loop("concurrency-leases", 30.0, partial(_free_expired_slots, access), first_after=10.0),
        Loop("retention", 3600.0, Retention(access, settings), first_after=300.0),
        Loop("old-changes", 600.0, partial(_forget_old_changes, access), first_after=60.0),
        Loop("old-events", 600.0, partial(_forget_old_events, access), first_after=90.0),
    ]


async def _reclaim_lost_runs(access: StoreAccess, metrics: Metrics) -> None:
    """Ends the runs of processes that are gone."""
    if not await access.read(_is_any_process_gone, clock.now()):
        return
    lost = await access.write(reclaim_lost_runs, clock.now())
    metrics.lost_flow_runs(len(lost))
    for run in lost:
        _log.warning("Flow run '%s' (%s) is %s now: %s", run.name, run.flow_run_id, run.state_type.value, run.message)


def _is_any_process_gone(fetch: Fetch, now: int) -> bool:
    return any(processes.is_gone(lease, now) for lease in leases.all_leases(fetch))


async def _mark_late_runs(access: StoreAccess) -> None:
    while await access.write(mark_late_runs, clock.now()):
        pass


async def _free_expired_slots(access: StoreAccess) -> None:
    await access.transact(limits.free_expired, clock.now())


async def _forget_old_changes(access: StoreAccess) -> None:
    while await access.write(forget_old_changes, clock.now()):
        pass


async def _forget_old_events(access: StoreAccess) -> None:
    before = clock.now() - _EVENTS_KEPT_MICROSECONDS
    while await access.transact(events.delete_old, before, _MOST_EVENTS_AT_ONCE) == _MOST_EVENTS_AT_ONCE:
        pass
