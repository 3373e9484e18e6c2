"""Where no server sees to it, whoever runs flows removes what nobody follows any more."""

from __future__ import annotations

from tidemill.store import Store, changes, retried

# About 30 ms of work: at the end of a lease's third this is done again, if more is due.
_MOST_AT_ONCE = 50_000


@retried
def forget_old_changes(store: Store, now: int) -> int:
    """Removes changes that are older than they are kept, at the time `now` (microseconds), some at a time; gives how many.

    Where none is due this is one short query.
    """
    before = now - changes.KEPT_MICROSECONDS
    if not changes.has_old(store.database.fetch, before):
        return 0
    with store.transaction() as execute:
        return changes.prune(execute, before, _MOST_AT_ONCE)
