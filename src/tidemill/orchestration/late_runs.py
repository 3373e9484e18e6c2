"""Scheduled runs that nobody begins: after a while they are called late, so that people see it."""

from __future__ import annotations

from tidemill import clock
from tidemill.orchestration.proposing import propose
from tidemill.states import Late
from tidemill.store import Store, reading, retried
from tidemill.store.limits import fetching

LATE_AFTER_MICROSECONDS = 15 * 1_000_000
_MOST_AT_ONCE = 500


@retried
def mark_late_runs(store: Store, now: int) -> list[str]:
    """Names those flow runs late, some at a time, that were to begin 15 seconds before `now` (microseconds) and have not;
    gives their ids.

    Where there is none this is one short query.
    """
    before = now - LATE_AFTER_MICROSECONDS
    overdue = reading.overdue_flow_runs(store.database.fetch, before, _MOST_AT_ONCE)
    if not overdue:
        return []
    marked: list[str] = []
    with store.transaction() as execute:
        # Read again: somebody may have begun one meanwhile.
        for flow_run_id, due in reading.overdue_flow_runs(fetching(execute), before, _MOST_AT_ONCE):
            verdict = propose(execute, flow_run_id, Late(scheduled_time=clock.to_datetime(due)), None, None)
            if verdict.status == "ACCEPT":
                marked.append(flow_run_id)
    return marked
