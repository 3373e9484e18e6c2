"""After nobody was there to renew leases with: who could not is given time before it counts as lost."""

from __future__ import annotations

from tidemill.orchestration import processes
from tidemill.store import Store, leases, retried


@retried
def grant_grace(store: Store, now: int, seconds: float) -> int:
    """Makes the leases of processes on other machines valid for at least so many seconds from `now` (microseconds); gives how
    many that concerns. Of those on this machine it is known whether they live."""
    deadline = now + int(seconds * 1_000_000)
    with store.transaction() as execute:
        return leases.extend_elsewhere(execute, processes.place(), deadline)
