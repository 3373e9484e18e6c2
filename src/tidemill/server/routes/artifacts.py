"""Artifacts: what runs made for people to look at; those of one key are versions of one thing."""

from __future__ import annotations

import msgspec
from litestar import delete, get, patch, post
from litestar.params import FromPath, JSONBody

from tidemill import clock
from tidemill.filters import ArtifactFilter, ArtifactSort, Filters, FlowFilter, FlowRunFilter, TaskRunFilter
from tidemill.server.answers import existing
from tidemill.server.listing import Count, page_of
from tidemill.server.parameters import Offset, PathId
from tidemill.server.services import TheServices, TheStore
from tidemill.side_records import Artifact, ArtifactChange, ArtifactCollection, NewArtifact
from tidemill.store import artifacts

_NO_ARTIFACT = "There is no such artifact; it may have been deleted. POST /api/artifacts/filter lists them."


class CountArtifacts(msgspec.Struct, kw_only=True):
    artifacts: ArtifactFilter | None = None
    flows: FlowFilter | None = None
    flow_runs: FlowRunFilter | None = None
    task_runs: TaskRunFilter | None = None

    @property
    def runs(self) -> Filters:
        return Filters(flows=self.flows, flow_runs=self.flow_runs, task_runs=self.task_runs)


class ReadArtifacts(CountArtifacts, kw_only=True):
    sort: ArtifactSort | None = None
    limit: Count | None = None
    offset: Offset | None = None

    @property
    def order(self) -> ArtifactSort:
        return self.sort or ArtifactSort.ID_DESC


@post("/artifacts")
async def create_artifact(store: TheStore, data: JSONBody[NewArtifact]) -> Artifact:
    """Creates an artifact."""
    made = await store.transact(artifacts.create, data, clock.now())
    return existing(made, f"There is no flow run {data.flow_run_id}, so that it cannot have an artifact.")


@get("/artifacts/{artifact_id:str}")
async def read_artifact(store: TheStore, artifact_id: PathId) -> Artifact:
    """The artifact of this id."""
    return existing(await store.read(artifacts.artifact, artifact_id), _NO_ARTIFACT)


@get("/artifacts/{key:str}/latest")
async def read_latest_artifact(store: TheStore, key: FromPath[str]) -> Artifact:
    """The newest artifact of this key."""
    return existing(await store.read(artifacts.latest_artifact, key), f"There is no artifact of key {key!r}.")


@post("/artifacts/filter", status_code=200)
async def read_artifacts(store: TheStore, services: TheServices, data: JSONBody[ReadArtifacts | None] = None) -> list[Artifact]:
    """A page of the artifacts that the filters ask for."""
    asked = data or ReadArtifacts()
    page = page_of(services, asked.limit, asked.offset)
    return await store.read(artifacts.artifacts, asked.artifacts, asked.runs, asked.order, page)


@post("/artifacts/count", status_code=200)
async def count_artifacts(store: TheStore, data: JSONBody[CountArtifacts | None] = None) -> int:
    """How many artifacts the filters ask for."""
    asked = data or CountArtifacts()
    return await store.read(artifacts.count_artifacts, asked.artifacts, asked.runs)


@post("/artifacts/latest/filter", status_code=200)
async def read_latest_artifacts(
    store: TheStore, services: TheServices, data: JSONBody[ReadArtifacts | None] = None
) -> list[ArtifactCollection]:
    """A page of the newest artifacts of their keys that the filters ask for."""
    asked = data or ReadArtifacts()
    page = page_of(services, asked.limit, asked.offset)
    return await store.read(artifacts.latest_artifacts, asked.artifacts, asked.runs, asked.order, page)


@post("/artifacts/latest/count", status_code=200)
async def count_latest_artifacts(store: TheStore, data: JSONBody[CountArtifacts | None] = None) -> int:
    """How many of the newest artifacts of their keys the filters ask for."""
    asked = data or CountArtifacts()
    return await store.read(artifacts.count_latest_artifacts, asked.artifacts, asked.runs)


@patch("/artifacts/{artifact_id:str}", status_code=204)
async def change_artifact(store: TheStore, artifact_id: PathId, data: JSONBody[ArtifactChange]) -> None:
    """Changes what is named of an artifact."""
    existing(await store.transact(artifacts.change, artifact_id, data, clock.now()), _NO_ARTIFACT)


@delete("/artifacts/{artifact_id:str}")
async def delete_artifact(store: TheStore, artifact_id: PathId) -> None:
    """Removes an artifact."""
    existing(await store.transact(artifacts.delete, artifact_id), _NO_ARTIFACT)


HANDLERS = [
    create_artifact,
    read_artifact,
    read_latest_artifact,
    read_artifacts,
    count_artifacts,
    read_latest_artifacts,
    count_latest_artifacts,
    change_artifact,
    delete_artifact,
]
