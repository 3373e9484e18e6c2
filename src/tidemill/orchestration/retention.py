"""What is old goes: runs that ended long ago, results that have expired, tokens that give no access any more."""

from __future__ import annotations

from typing import NamedTuple

from tidemill.store import Store, caching, old_runs, retried, tokens
from tidemill.store.reading import Fetch
from tidemill.store.rows import Execute


class Deleted(NamedTuple):
    """What one call has removed.

    Attributes:
        unused_keys: keys of result files that belong to nothing any more. Who has them may remove them.
        more: whether another call may find more.
    """

    flow_runs: int
    task_runs: int
    logs: int
    unused_keys: list[str]
    more: bool


@retried
def delete_old_runs(store: Store, before: int, limit: int) -> Deleted:
    """Removes runs that ended before a time (microseconds), the oldest first, in one transaction: flow runs that nobody
    called, with those called in them, and task runs outside flows; each with its states, logs, artifacts and inputs.

    A flow run stays as long as one that was called in it goes on or ended later; one that was called stays as long as
    its caller. Cached results stay until they expire.

    Args:
        limit: about how many rows it removes at most, so that nobody else waits for long; a large run goes in several calls.
    """
    flow_runs = task_runs = logs = 0
    keys: list[str] = []
    with store.transaction() as execute:
        for family in old_runs.old_families(execute, before):
            for flow_run in family:
                room = limit - task_runs - logs - flow_runs
                if room <= 0 or not old_runs.is_old(execute, flow_run, before):
                    break
                removed = old_runs.remove(execute, flow_run, room)
                flow_runs, task_runs, logs = flow_runs + removed.whole, task_runs + removed.task_runs, logs + removed.logs
                keys += removed.keys
            if task_runs + logs + flow_runs >= limit:
                break
        room = limit - task_runs - logs - flow_runs
        if room > 0:
            removed = old_runs.remove_outside_flows(execute, before, room, kind=store.database.kind)
            task_runs, logs = task_runs + removed.task_runs, logs + removed.logs
            keys += removed.keys
        unused = _unused(execute, keys)
    return Deleted(flow_runs, task_runs, logs, unused, more=task_runs + logs + flow_runs >= limit)


@retried
def delete_expired_results(store: Store, now: int, limit: int) -> Deleted:
    """Removes cached results that have expired at the time `now` (microseconds), at most `limit`."""
    with store.transaction() as execute:
        keys = caching.remove_expired(execute, now, limit)
        return Deleted(0, 0, 0, _unused(execute, [key for key in keys if key is not None]), more=len(keys) >= limit)


@retried
def delete_old_tokens(store: Store, before: int) -> int:
    """Removes tokens that were revoked or expired before a time (microseconds); gives how many.

    The newest stays in any case: a server for which there has been a token goes on asking for one.
    """
    with store.transaction() as execute:
        return tokens.delete_old(execute, before)


def _unused(execute: Execute, keys: list[str]) -> list[str]:
    fetch: Fetch = lambda sql, bindings: execute(sql, bindings).fetchall()  # noqa: E731
    distinct = list(dict.fromkeys(keys))
    used = caching.keys_in_use(fetch, distinct)
    return [key for key in distinct if key not in used]
