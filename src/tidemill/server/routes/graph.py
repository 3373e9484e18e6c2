"""What a flow run consists of, as a page draws it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import get
from litestar.params import QueryParameter

from tidemill import clock
from tidemill.filters import ArtifactFilter, ArtifactSort, Filters, FlowRunFilter, IdFilter, Page, TaskRunSort
from tidemill.records import TaskRun
from tidemill.server.answers import existing
from tidemill.server.errors import InvalidRequest
from tidemill.server.parameters import PathId
from tidemill.server.requests import microseconds
from tidemill.server.routes.flow_runs import NO_FLOW_RUN
from tidemill.server.services import TheStore
from tidemill.server.shown import shown_state
from tidemill.side_records import Artifact
from tidemill.states import State, StateType
from tidemill.store import artifacts, graphs, reading

_MOST_NODES = 10_000
_MOST_ARTIFACTS = 10_000
_EVER = datetime(1, 1, 1, tzinfo=UTC)

Since = Annotated[datetime, QueryParameter(description="What ended before is left out.")]


class Edge(msgspec.Struct, frozen=True):
    id: str


class GraphArtifact(msgspec.Struct, kw_only=True):
    """An artifact, with its data where that is a progress."""

    id: str
    created: datetime
    key: str | None
    type: str | None
    is_latest: bool
    data: Any = None


class GraphState(msgspec.Struct, kw_only=True):
    id: str
    timestamp: datetime
    type: StateType
    name: str


class GraphNode(msgspec.Struct, kw_only=True):
    """A task run or subflow run: what it was given (`parents`), what was given its result (`children`), and in which runs it
    was called (`encapsulating`)."""

    kind: Literal["flow-run", "task-run"]
    id: str
    label: str
    state_type: StateType
    start_time: datetime
    end_time: datetime | None
    parents: list[Edge]
    children: list[Edge]
    encapsulating: list[Edge]
    artifacts: list[GraphArtifact]


class Graph(msgspec.Struct, kw_only=True):
    """A flow run: what it consists of, by the time of its beginning, and its own artifacts and states."""

    start_time: datetime | None
    end_time: datetime | None
    root_node_ids: list[str]
    nodes: list[tuple[str, GraphNode]]
    artifacts: list[GraphArtifact]
    states: list[GraphState]


class Upstream(msgspec.Struct, kw_only=True):
    id: str
    input_type: str = "task_run"


class DependencyResult(msgspec.Struct, kw_only=True):
    """A task run, and the task runs whose results it was given."""

    id: str
    name: str
    upstream_dependencies: list[Upstream]
    state: State[Any] | None
    expected_start_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    total_run_time: float
    estimated_run_time: float
    untrackable_result: bool


@get("/flow_runs/{flow_run_id:str}/graph-v2")
async def read_flow_run_graph(store: TheStore, flow_run_id: PathId, since: Since = _EVER) -> Graph:
    """What a flow run consists of so far; asked again with `since`, what has changed since then."""
    run = existing(await store.read(reading.flow_run, flow_run_id), NO_FLOW_RUN)
    nodes = await store.read(graphs.nodes, flow_run_id, microseconds(since), _MOST_NODES + 1)
    if len(nodes) > _MOST_NODES:
        raise InvalidRequest(f"This flow run has more than {_MOST_NODES} task runs, too many to draw. List them by pages.")
    made = await store.read(_artifacts, flow_run_id)
    states = await store.read(reading.flow_run_states, flow_run_id)
    return Graph(
        start_time=run.start_time,
        end_time=run.end_time,
        root_node_ids=[node.id for node in nodes if not node.parents and not node.callers],
        nodes=_linked(nodes, made),
        artifacts=made[None],
        states=[GraphState(id=state.id or "", timestamp=state.timestamp, type=state.type, name=state.name) for state in states],
    )


@get("/flow_runs/{flow_run_id:str}/graph")
async def read_flow_run_dependencies(store: TheStore, flow_run_id: PathId) -> list[DependencyResult]:
    """The task runs of a flow run, and which of them were given results of which."""
    filters = Filters(flow_runs=FlowRunFilter(id=IdFilter(any_=[flow_run_id])))
    existing(await store.read(reading.flow_run, flow_run_id), NO_FLOW_RUN)
    runs = await store.read(reading.task_runs, filters, TaskRunSort.EXPECTED_START_TIME_ASC, Page(_MOST_NODES))
    return [_dependencies(run) for run in runs]


def _linked(nodes: Sequence[graphs.Node], made: dict[str | None, list[GraphArtifact]]) -> list[tuple[str, GraphNode]]:
    """The nodes with their edges; a task run that stands for a subflow run goes by that run's id."""
    names = {node.task_run_id: node.id for node in nodes}
    children: dict[str, dict[str, None]] = defaultdict(dict)
    for node in nodes:
        for parent in node.parents:
            children[names.get(parent, parent)][node.id] = None
    return [
        (
            node.id,
            GraphNode(
                kind="flow-run" if node.is_flow_run else "task-run",
                id=node.id,
                label=node.label,
                state_type=node.state_type,
                start_time=clock.to_datetime(node.start_time),
                end_time=None if node.end_time is None else clock.to_datetime(node.end_time),
                parents=[Edge(names.get(parent, parent)) for parent in node.parents],
                children=[Edge(child) for child in children[node.id]],
                encapsulating=[Edge(names.get(caller, caller)) for caller in node.callers],
                artifacts=made.get(node.task_run_id, []),
            ),
        )
        for node in nodes
    ]


def _artifacts(fetch: reading.Fetch, flow_run_id: str) -> dict[str | None, list[GraphArtifact]]:
    """The artifacts of a flow run, by the task run that made them."""
    chosen = ArtifactFilter(flow_run_id=IdFilter(any_=[flow_run_id]))
    found = artifacts.artifacts(fetch, chosen, Filters(), ArtifactSort.CREATED_DESC, Page(_MOST_ARTIFACTS))
    latest: set[str | None] = {None}
    by_run: dict[str | None, list[GraphArtifact]] = defaultdict(list)
    for artifact in found:
        by_run[artifact.task_run_id].append(_to_graph(artifact, artifact.key not in latest))
        latest.add(artifact.key)
    return by_run


def _to_graph(artifact: Artifact, is_latest: bool) -> GraphArtifact:
    return GraphArtifact(
        id=artifact.id,
        created=artifact.created,
        key=artifact.key,
        type=artifact.type,
        is_latest=is_latest or artifact.key is None,
        data=artifact.data if artifact.type == "progress" else None,
    )


def _dependencies(run: TaskRun) -> DependencyResult:
    upstream = {str(source["id"]): None for sources in run.task_inputs.values() for source in sources if "id" in source}
    return DependencyResult(
        id=run.id,
        name=run.name,
        upstream_dependencies=[Upstream(id=id) for id in upstream],
        state=run.state and shown_state(run.state),
        expected_start_time=run.expected_start_time,
        start_time=run.start_time,
        end_time=run.end_time,
        total_run_time=run.total_run_time,
        estimated_run_time=run.estimated_run_time,
        untrackable_result=bool(run.state and run.state.state_details.untrackable_result),
    )


HANDLERS = [read_flow_run_graph, read_flow_run_dependencies]
