"""Operations on flows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tidemill import clock
from tidemill.exceptions import ObjectNotFound
from tidemill.orchestration.proposing import fetching
from tidemill.records import Flow
from tidemill.store import Store, flows, reading, retried, writing


@retried
def ensure_flow(store: Store, name: str, tags: Sequence[str], labels: Mapping[str, Any]) -> tuple[Flow, bool]:
    """The flow of this name, which is created if there is none, and whether it was; one that is there stays as it is."""
    with store.transaction() as execute:
        created = flows.create(execute, name, tags, labels, clock.now())
        flow = reading.flow_by_name(fetching(execute), name)
    assert flow is not None
    return flow, created


@retried
def change_flow(store: Store, flow_id: str, columns: Mapping[str, Any]) -> None:
    """Gives a flow other tags or labels.

    Raises:
        ObjectNotFound: there is no such flow.
    """
    with store.transaction() as execute:
        if not flows.change(execute, flow_id, columns, clock.now()):
            raise no_flow(flow_id)


@retried
def delete_flow(store: Store, flow_id: str) -> list[str]:
    """Removes a flow with all its runs.

    Returns:
        The keys of the result files that now belong to nothing.

    Raises:
        ObjectNotFound: there is no such flow.
    """
    keys: list[str] = []
    with store.transaction() as execute:
        for flow_run_id in flows.runs(execute, flow_id):
            keys += writing.result_keys(execute, flow_run_id)
            writing.delete_flow_run(execute, flow_run_id)
        if not flows.delete(execute, flow_id):
            raise no_flow(flow_id)
    return keys


def no_flow(flow_id: str) -> ObjectNotFound:
    """The error of whoever asks for a flow that is not there."""
    return ObjectNotFound(f"There is no flow {flow_id}; it may have been deleted. POST /api/flows/filter lists them.")
