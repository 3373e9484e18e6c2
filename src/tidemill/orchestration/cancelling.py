"""Cancelling a flow run from outside: who works on it is asked to stop; where nobody does, it ends at once."""

from __future__ import annotations

from tidemill import clock
from tidemill.orchestration import lost_runs, processes
from tidemill.orchestration.proposing import Verdict, not_found, propose
from tidemill.records import Lease
from tidemill.states import TERMINAL_TYPES, Cancelled, Cancelling, StateType
from tidemill.store import Store, leases, retried, writing


@retried
def cancel_flow_run(store: Store, flow_run_id: str, reason: str | None) -> Verdict:
    """Cancels a flow run and the subflow runs that have not ended.

    A run that a living process works on becomes Cancelling, and its process ends it; any other one becomes Cancelled, with
    its task runs. The verdict is ABORT for a run that has ended, REJECT for one that is being cancelled already.

    Args:
        reason: the message of the new state.

    Raises:
        ObjectNotFound: there is no such flow run.
    """
    with store.transaction() as execute:
        return cancel(execute, flow_run_id, reason)


def cancel(execute: writing.Execute, flow_run_id: str, reason: str | None) -> Verdict:
    facts = writing.flow_run_facts(execute, flow_run_id)
    if facts is None:
        raise not_found(flow_run_id)
    if facts.state_type in TERMINAL_TYPES:
        return Verdict("ABORT", reason=f"This run has already ended, as {facts.state_type.value}.", attempt=facts.attempt)
    holder = leases.lease(execute, facts.lease_id) if facts.lease_id is not None else None
    if holder is not None and not processes.is_gone(holder, clock.now()):
        verdict = _ask(execute, flow_run_id, facts, reason)
    else:
        verdict = _end(execute, flow_run_id, facts, holder, reason)
    for subflow_run_id in writing.unfinished_subflow_runs(execute, flow_run_id):
        cancel(execute, subflow_run_id, reason)
    return verdict


def _ask(execute: writing.Execute, flow_run_id: str, facts: writing.FlowRunFacts, reason: str | None) -> Verdict:
    if facts.state_type is StateType.CANCELLING:
        return Verdict("REJECT", reason="This run is being cancelled already.", attempt=facts.attempt)
    return propose(execute, flow_run_id, Cancelling(message=reason), None, None)


def _end(
    execute: writing.Execute, flow_run_id: str, facts: writing.FlowRunFacts, gone: Lease | None, reason: str | None
) -> Verdict:
    state = Cancelled(message=reason)
    lost_runs.end_task_runs(execute, flow_run_id, StateType.CANCELLED, reason)
    writing.write_flow_run_state(execute, flow_run_id, state, facts, None)
    for subflow_run_id in writing.unfinished_subflow_runs(execute, flow_run_id):
        cancel(execute, subflow_run_id, reason)  # before what else the process held is taken to have crashed
    if gone is not None:
        lost_runs.reclaim(execute, gone)
    return Verdict("ACCEPT", state, attempt=facts.attempt)
