"""Operations on flow runs that somebody works on, and on the leases under which they do."""

from __future__ import annotations

from typing import Any

from tidemill import clock
from tidemill.orchestration import lost_runs
from tidemill.orchestration.proposing import Verdict, not_found, propose
from tidemill.records import Lease
from tidemill.states import State
from tidemill.store import Store, leases, retried, writing


@retried
def propose_flow_run_state(
    store: Store, flow_run_id: str, state: State[Any], *, lease_id: str | None = None, attempt: int | None = None
) -> Verdict:
    """Asks for a flow run to go into `state`.

    Args:
        lease_id: the claim of the process that works on the run, when it is that process that asks.
        attempt: the attempt that asks; a stale one is told to abort. None: an outsider asks.

    Raises:
        ObjectNotFound: there is no such flow run.
    """
    with store.transaction() as execute:
        return propose(execute, flow_run_id, state, lease_id, attempt)


@retried
def delete_flow_run(store: Store, flow_run_id: str) -> list[str]:
    """Removes a flow run with its states, task runs and logs.

    Returns:
        The keys of the result files that now belong to nothing.

    Raises:
        ObjectNotFound: there is no such flow run.
    """
    with store.transaction() as execute:
        keys = writing.result_keys(execute, flow_run_id)
        if not writing.delete_flow_run(execute, flow_run_id):
            raise not_found(flow_run_id)
    return keys


@retried
def renew_lease(store: Store, lease: Lease, seconds: float) -> bool:
    """Extends a lease by `seconds` from now; False if it is gone: others took this process to have ended."""
    with store.transaction() as execute:
        return leases.renew_lease(execute, lease.id, clock.now() + int(seconds * 1_000_000))


@retried
def take_lease(store: Store, lease: Lease) -> None:
    """Records a lease before anything that it holds."""
    with store.transaction() as execute:
        leases.ensure_lease(execute, lease)


def holds_lease(store: Store, lease: Lease) -> bool:
    """Whether a lease is still recorded: nobody has taken its process to have ended."""
    return leases.is_recorded(store.database.fetch, lease.id)


@retried
def release_lease(store: Store, lease: Lease) -> None:
    """Gives a lease back; what its process has left unfinished has crashed."""
    message = f"The process that ran it ended before it did (process {lease.pid} on host {lease.hostname})."
    with store.transaction() as execute:
        lost_runs.give_up(execute, lease, message)
