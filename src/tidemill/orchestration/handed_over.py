"""Flow runs that are begun on a server and executed elsewhere: what the process gets that is to execute them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tidemill import clock
from tidemill.ids import to_bytes
from tidemill.orchestration.attempts import Started, begin_next_attempt, create_flow_run
from tidemill.orchestration.flow_runs import delete_flow_run
from tidemill.orchestration.flows import delete_flow
from tidemill.protocol import Taken
from tidemill.records import Lease, NewFlowRun
from tidemill.states import State
from tidemill.store import Store, caching, leases, retried, shipments


def create(store: Store, run: NewFlowRun, states: Sequence[State[Any]], lease: Lease, lease_seconds: float) -> Taken:
    """As `create_flow_run`, for a process elsewhere: a run with an idempotency key, which may exist."""
    return _handed_over(store, create_flow_run(store, run, states, _from_now(store, lease, lease_seconds)))


def begin(store: Store, flow_run_id: str, state: State[Any], again: bool, lease: Lease, lease_seconds: float) -> Taken:
    """As `begin_next_attempt`, for a process elsewhere."""
    lease = _from_now(store, lease, lease_seconds)
    return _handed_over(store, begin_next_attempt(store, flow_run_id, lease, again=again, state=state))


def delete(store: Store, flow_run_id: str) -> list[str]:
    """As `delete_flow_run`; gives the keys of the result files that no other run has."""
    return _unused(store, delete_flow_run(store, flow_run_id))


def delete_with_runs(store: Store, flow_id: str) -> list[str]:
    """As `delete_flow`; gives the keys of the result files that no other run has."""
    return _unused(store, delete_flow(store, flow_id))


@retried
def write_in_journal(store: Store, taken: Taken, lease: Lease) -> None:
    """Writes a flow run that the server has handed over into the journal of the process that executes it."""
    story = taken.story
    if story is None:
        return
    with store.transaction() as execute:
        leases.ensure_lease(execute, lease)
        shipments.take_over(execute, story, taken.task_runs, to_bytes(lease.id), clock.now())


def _unused(store: Store, keys: Sequence[str]) -> list[str]:
    used = caching.keys_in_use(store.database.fetch, keys)
    return [key for key in keys if key not in used]


@retried
def _from_now(store: Store, lease: Lease, seconds: float) -> Lease:
    """The lease by the server's clock; a process that begins something lives."""
    deadline = clock.now() + int(seconds * 1_000_000)
    with store.transaction() as execute:
        leases.renew_lease(execute, lease.id, deadline)
    return msgspec.structs.replace(lease, deadline=deadline)


def _handed_over(store: Store, started: Started) -> Taken:
    verdict = started.verdict
    taken = Taken(
        started.flow_run_id,
        started.name,
        verdict.status,
        verdict.reason,
        verdict.delay_seconds,
        started.attempt,
        started.existed,
        verdict.state,
    )
    if verdict.status == "ACCEPT":
        with store.database.snapshot() as fetch:
            flow_run = to_bytes(started.flow_run_id)
            taken.story = shipments.flow_run_story(fetch, flow_run)
            taken.task_runs = shipments.task_runs_of(fetch, flow_run)
    return taken
