"""Results that later calls may use: kept, forgotten, and claimed by who computes them."""

from __future__ import annotations

from tidemill import clock
from tidemill.records import Lease
from tidemill.store import Store, caching, leases, retried
from tidemill.store.caching import CachedResult


@retried
def fill(store: Store, key: str, result: CachedResult, flow_run_id: str | None) -> None:
    """Keeps a result under a key, and releases its task run's claim on that.

    Args:
        flow_run_id: the only flow run that can use it.
    """
    with store.transaction() as execute:
        caching.fill(execute, key, result, flow_run_id)
        caching.release(execute, key, result.task_run_id)


@retried
def forget(store: Store, key: str, task_run_id: str) -> None:
    """Removes the result of a task run from a key."""
    with store.transaction() as execute:
        caching.forget(execute, key, task_run_id)


@retried
def claim(store: Store, key: str, owner: str, lease: Lease) -> bool:
    """Notes that the task run `owner` computes the result of a key, under its process's lease; False if another does."""
    with store.transaction() as execute:
        leases.ensure_lease(execute, lease)
        return caching.claim(execute, key, owner, lease.id, clock.now())


@retried
def release(store: Store, key: str, owner: str) -> None:
    """Takes a claim back."""
    with store.transaction() as execute:
        caching.release(execute, key, owner)
