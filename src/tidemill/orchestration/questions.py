"""What may be asked of a store by name, by our own programs: in the process that has the store, or over the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tidemill import orchestration
from tidemill.filters import (
    ArtifactFilter,
    ArtifactSort,
    Filters,
    FlowRunSort,
    FlowSort,
    LogFilter,
    LogSort,
    Page,
    TaskRunSort,
    VariableFilter,
    VariableSort,
)
from tidemill.orchestration import beside_runs, cached_results, flows, handed_over, shipped
from tidemill.protocol import Shipment, SignOfLife
from tidemill.records import Lease, NewFlowRun
from tidemill.side_records import (
    ArtifactChange,
    ConcurrencyLimitChange,
    NewArtifact,
    NewConcurrencyLimit,
    NewVariable,
    VariableChange,
)
from tidemill.states import State
from tidemill.store import Store, artifacts, caching, entries, reading, variables
from tidemill.store.caching import CachedResult


class Question(NamedTuple):
    """A request: how to read it, and the function that answers, which is given the store or a fetch, and then the parts of
    the request."""

    arguments: Any
    answer: Callable[..., Any]


def _record_flow_run(store: Store, run: NewFlowRun, state: State[Any]) -> str:
    """Creates a flow run that nobody works on, or finds the one of its key; gives its id."""
    return orchestration.create_flow_run(store, run, [state], None).flow_run_id


READS: dict[str, Question] = {
    "flow": Question(tuple[str], reading.flow),
    "flow_by_name": Question(tuple[str], reading.flow_by_name),
    "flows": Question(tuple[Filters, FlowSort, Page], reading.flows),
    "count_flows": Question(tuple[Filters], reading.count_flows),
    "flow_run": Question(tuple[str], reading.flow_run),
    "flow_runs": Question(tuple[Filters, FlowRunSort, Page], reading.flow_runs),
    "count_flow_runs": Question(tuple[Filters], reading.count_flow_runs),
    "flow_run_states": Question(tuple[str], reading.flow_run_states),
    "flow_run_call": Question(tuple[str], reading.flow_run_call),
    "find_flow_runs": Question(tuple[str], reading.find_flow_runs),
    "task_run": Question(tuple[str], reading.task_run),
    "task_runs": Question(tuple[Filters, TaskRunSort, Page], reading.task_runs),
    "count_task_runs": Question(tuple[Filters], reading.count_task_runs),
    "task_run_states": Question(tuple[str], reading.task_run_states),
    "task_run_entries": Question(tuple[str], entries.task_run_entries),
    "task_run_entry": Question(tuple[str], entries.task_run_entry),
    "find_task_runs": Question(tuple[str, str | None], reading.find_task_runs),
    "logs": Question(tuple[LogFilter | None, LogSort, Page], reading.logs),
    "logs_after": Question(tuple[int, str, int], reading.logs_after),
    "find_cached": Question(tuple[str, int], caching.find),
    "variable": Question(tuple[str], beside_runs.variable),
    "variables": Question(tuple[VariableFilter | None, VariableSort, Page], variables.variables),
    "count_variables": Question(tuple[VariableFilter | None], variables.count_variables),
    "artifact": Question(tuple[str], artifacts.artifact),
    "artifacts": Question(tuple[ArtifactFilter | None, Filters, ArtifactSort, Page], artifacts.artifacts),
    "latest_artifact": Question(tuple[str], artifacts.latest_artifact),
    "limit": Question(tuple[str], beside_runs.limit),
    "limits": Question(tuple[Page], beside_runs.all_limits),
    "tag_limit": Question(tuple[str], beside_runs.tag_limit),
    "tag_limits": Question(tuple[Page], beside_runs.tag_limits),
    "keyed_run": Question(tuple[str], caching.keyed_run),
    "earlier_keyed_runs": Question(tuple[str, int], caching.earlier_keyed_runs),
}
WRITES: dict[str, Question] = {
    "shipments": Question(tuple[Shipment], shipped.record_shipment),
    "signs_of_life": Question(tuple[SignOfLife], shipped.news_for),
    "create_flow_run": Question(tuple[NewFlowRun, list[State[Any]], Lease, float], handed_over.create),
    "begin_next_attempt": Question(tuple[str, State[Any], bool, Lease, float], handed_over.begin),
    "cancel_flow_run": Question(tuple[str, str | None], orchestration.cancel_flow_run),
    "propose_flow_run_state": Question(tuple[str, State[Any]], orchestration.propose_flow_run_state),
    "delete_flow_run": Question(tuple[str], handed_over.delete),
    "rerun_from": Question(tuple[str, str], orchestration.rerun_from),
    "set_task_run_state": Question(tuple[str, State[Any]], orchestration.set_task_run_state),
    "ensure_flow": Question(tuple[str, list[str], dict[str, Any]], flows.ensure_flow),
    "delete_flow": Question(tuple[str], handed_over.delete_with_runs),
    "record_flow_run": Question(tuple[NewFlowRun, State[Any]], _record_flow_run),
    "create_variable": Question(tuple[NewVariable], beside_runs.create_variable),
    "change_variable": Question(tuple[str, VariableChange], beside_runs.change_variable),
    "delete_variable": Question(tuple[str], beside_runs.delete_variable),
    "create_artifact": Question(tuple[NewArtifact], beside_runs.create_artifact),
    "change_artifact": Question(tuple[str, ArtifactChange], beside_runs.change_artifact),
    "delete_artifact": Question(tuple[str], beside_runs.delete_artifact),
    "create_limit": Question(tuple[NewConcurrencyLimit], beside_runs.create_limit),
    "change_limit": Question(tuple[str, ConcurrencyLimitChange], beside_runs.change_limit),
    "delete_limit": Question(tuple[str], beside_runs.delete_limit),
    "take_slots": Question(tuple[list[str], int, float | None], beside_runs.take),
    "give_slots_back": Question(tuple[list[str], int], beside_runs.give_back),
    "give_lease_back": Question(tuple[str], beside_runs.give_lease_back),
    "limit_tag": Question(tuple[str, int], beside_runs.limit_tag),
    "delete_tag_limit": Question(tuple[str], beside_runs.delete_tag_limit),
    "claim_cache_key": Question(tuple[str, str, Lease], cached_results.claim),
    "fill_cache": Question(tuple[str, CachedResult, str | None], cached_results.fill),
    "forget_cached": Question(tuple[str, str], cached_results.forget),
    "release_cache_key": Question(tuple[str, str], cached_results.release),
}
