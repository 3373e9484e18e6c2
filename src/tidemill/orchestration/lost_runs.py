"""What becomes of runs whose process is gone: whoever notices first writes it, once."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidemill import clock
from tidemill.orchestration import processes
from tidemill.records import Lease, TaskRunEntry
from tidemill.states import Cancelled, Crashed, State, StateType
from tidemill.store import Store, entries, leases, recording, retried, writing


class LostRun(msgspec.Struct, frozen=True):
    """A flow run that was taken from a process that is gone."""

    flow_run_id: str
    name: str
    state_type: StateType
    message: str


@retried
def reclaim_lost_runs(store: Store, now: int) -> list[LostRun]:
    """Ends the runs of every process that is gone at the time `now` (microseconds), and removes its lease: flow runs, which
    it gives, with their task runs, and the task runs outside flows.

    Where none is gone this is one short query.
    """
    suspects = [lease for lease in leases.all_leases(store.database.fetch) if processes.is_gone(lease, now)]
    if not suspects:
        return []
    lost: list[LostRun] = []
    with store.transaction() as execute:
        for suspect in suspects:
            lease = leases.lease(execute, suspect.id)
            if lease is not None and processes.is_gone(lease, now):  # nobody else was quicker, nor has it been renewed
                lost += reclaim(execute, lease)
    return lost


def reclaim(execute: writing.Execute, lease: Lease) -> list[LostRun]:
    """Ends every run that the lease of a process that is gone holds, and removes the lease; gives the flow runs."""
    return give_up(execute, lease, f"The process that ran it is gone (process {lease.pid} on host {lease.hostname}).")


def give_up(execute: writing.Execute, lease: Lease, message: str) -> list[LostRun]:
    """Ends every run that a lease holds, for the reason in `message`, and removes the lease; gives the flow runs."""
    lost: list[LostRun] = []
    for flow_run_id in leases.held_flow_runs(execute, lease.id):
        facts = writing.flow_run_facts(execute, flow_run_id)
        if facts is not None:
            lost.append(end_lost(execute, flow_run_id, facts, message))
    _end(execute, entries.held_task_runs(_fetching(execute), lease.id), StateType.CRASHED, message)
    leases.delete_lease(execute, lease.id)
    return lost


def end_lost(execute: writing.Execute, flow_run_id: str, facts: writing.FlowRunFacts, message: str) -> LostRun:
    """Ends one flow run that nobody works on any more: as cancelled if that was asked for, else as crashed."""
    cancelled = facts.state_type is StateType.CANCELLING
    state: State[None] = Cancelled(message=message) if cancelled else Crashed(message=message)
    end_task_runs(execute, flow_run_id, state.type, message)
    writing.write_flow_run_state(execute, flow_run_id, state, facts, None)
    return LostRun(flow_run_id, facts.name, state.type, message)


@retried
def end_open_task_runs(store: Store, flow_run_id: str, type: StateType, message: str) -> None:
    """Ends what a process has left open that executed a part of a flow run, which goes on without it."""
    with store.transaction() as execute:
        end_task_runs(execute, flow_run_id, type, message)


def end_task_runs(execute: writing.Execute, flow_run_id: str, type: StateType, message: str | None) -> None:
    """Gives every unfinished task run of a flow run one more state."""
    _end(execute, entries.unfinished_task_runs(_fetching(execute), flow_run_id), type, message)


def _end(execute: writing.Execute, unfinished: Sequence[TaskRunEntry], type: StateType, message: str | None) -> None:
    now = clock.now()
    for entry in unfinished:
        entry.progress = entry.progress.then(type, None, message, now)
    recording.write_task_runs(execute, unfinished)


def _fetching(execute: writing.Execute) -> entries.Fetch:
    """Reads within a transaction."""
    return lambda sql, bindings: execute(sql, bindings).fetchall()
