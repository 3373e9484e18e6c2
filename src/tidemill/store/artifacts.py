"""Artifacts: what runs made for people to look at. Each function reads, or runs inside its caller's transaction."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from msgspec import UNSET

from tidemill import clock, ids
from tidemill.filters import EVERYTHING, FIRST_PAGE, ArtifactFilter, ArtifactSort, Filters, Page
from tidemill.side_records import Artifact, ArtifactChange, ArtifactCollection, NewArtifact
from tidemill.store import rows
from tidemill.store.filtering import Condition, artifact_condition
from tidemill.store.ordering import ARTIFACT_ORDER
from tidemill.store.rows import Execute, Fetch

_COLUMNS = (
    "artifact.id, artifact.key, artifact.type, artifact.description, artifact.data, artifact.metadata, "
    "artifact.flow_run_id, artifact.task_run_id, artifact.created, artifact.updated"
)
# Of each key the newest.
_IS_LATEST = (
    "artifact.key IS NOT NULL AND NOT EXISTS (SELECT 1 FROM artifact AS later WHERE later.key = artifact.key "
    "AND (later.created, later.id) > (artifact.created, artifact.id))"
)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_decode_metadata = msgspec.json.Decoder(dict[str, str]).decode


def of_id(artifact_id: str) -> Condition:
    """The artifact of this id."""
    return Condition("artifact.id = ?", (ids.to_bytes(artifact_id),))


def create(execute: Execute, new: NewArtifact, now: int) -> Artifact | None:
    """Creates an artifact at the time `now` (microseconds); None if it names a flow run that is not there. One that names only
    a task run belongs to that one's flow run too, and goes with it."""
    task_run = ids.to_bytes(new.task_run_id) if new.task_run_id else None
    flow_run = ids.to_bytes(new.flow_run_id) if new.flow_run_id else _flow_run_of(execute, task_run)
    if flow_run and not execute("SELECT 1 FROM flow_run WHERE id = ? /*postgres: FOR KEY SHARE */", (flow_run,)).fetchall():
        return None
    values = (
        ids.to_bytes(ids.new_id()),
        new.key,
        new.type,
        new.description,
        _to_json(new.data),
        _to_json(new.metadata_),
        flow_run,
        task_run,
        now,
        now,
    )
    sql = (
        "INSERT INTO artifact (id, key, type, description, data, metadata, flow_run_id, task_run_id, created, updated) "
        f"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING {_COLUMNS}"
    )
    return _to_artifact(execute(sql, values).fetchall()[0])


def artifact(fetch: Fetch, artifact_id: str) -> Artifact | None:
    """The artifact of this id."""
    which = of_id(artifact_id)
    found = fetch(f"SELECT {_COLUMNS} FROM artifact WHERE {which.sql}", which.bindings)
    return _to_artifact(found[0]) if found else None


def latest_artifact(fetch: Fetch, key: str) -> Artifact | None:
    """The newest artifact of this key."""
    sql = f"SELECT {_COLUMNS} FROM artifact WHERE key = ? ORDER BY created DESC, id DESC LIMIT 1"
    found = fetch(sql, (key,))
    return _to_artifact(found[0]) if found else None


def artifacts(
    fetch: Fetch,
    filter: ArtifactFilter | None = None,
    runs: Filters = EVERYTHING,
    sort: ArtifactSort = ArtifactSort.ID_DESC,
    page: Page = FIRST_PAGE,
) -> list[Artifact]:
    """Artifacts by themselves, and by the runs that made them."""
    condition = artifact_condition(filter, runs)
    return [_to_artifact(row) for row in rows.select(fetch, f"{_COLUMNS} FROM artifact", condition, ARTIFACT_ORDER[sort], page)]


def count_artifacts(fetch: Fetch, filter: ArtifactFilter | None = None, runs: Filters = EVERYTHING) -> int:
    return rows.count(fetch, "artifact", artifact_condition(filter, runs))


def latest_artifacts(
    fetch: Fetch,
    filter: ArtifactFilter | None = None,
    runs: Filters = EVERYTHING,
    sort: ArtifactSort = ArtifactSort.ID_DESC,
    page: Page = FIRST_PAGE,
) -> list[ArtifactCollection]:
    """The newest artifact of each key, if it is one of those asked for."""
    condition = _latest(filter, runs)
    found = rows.select(fetch, f"{_COLUMNS} FROM artifact", condition, ARTIFACT_ORDER[sort], page)
    return [_to_collection(_to_artifact(row)) for row in found]


def count_latest_artifacts(fetch: Fetch, filter: ArtifactFilter | None = None, runs: Filters = EVERYTHING) -> int:
    return rows.count(fetch, "artifact", _latest(filter, runs))


def change(execute: Execute, artifact_id: str, changed: ArtifactChange, now: int) -> bool:
    """Changes an artifact; False if there is none."""
    columns: dict[str, Any] = {"updated": now}
    if changed.data is not UNSET:
        columns["data"] = _to_json(changed.data)
    if changed.description is not UNSET:
        columns["description"] = changed.description
    if changed.metadata_ is not UNSET:
        columns["metadata"] = _to_json(changed.metadata_)
    return rows.change(execute, "artifact", columns, of_id(artifact_id))


def delete(execute: Execute, artifact_id: str) -> bool:
    """Removes an artifact; False if there is none."""
    return rows.delete(execute, "artifact", of_id(artifact_id))


def _flow_run_of(execute: Execute, task_run: bytes | None) -> bytes | None:
    if task_run is None:
        return None
    found = execute("SELECT flow_run_id FROM task_run WHERE id = ?", (task_run,)).fetchall()
    return found[0][0] if found else None


def _latest(filter: ArtifactFilter | None, runs: Filters) -> Condition:
    asked = artifact_condition(filter, runs)
    return Condition(f"{_IS_LATEST} AND {asked.sql}", asked.bindings)


def _to_json(value: Any) -> str | None:
    return None if value is None else _encode(value).decode()


def _to_artifact(row: tuple[Any, ...]) -> Artifact:
    id, key, type, description, data, metadata, flow_run_id, task_run_id, created, updated = row
    return Artifact(
        id=ids.from_bytes(id),
        key=key,
        type=type,
        description=description,
        data=None if data is None else _decode(data),
        metadata_=None if metadata is None else _decode_metadata(metadata),
        flow_run_id=ids.from_bytes(flow_run_id) if flow_run_id else None,
        task_run_id=ids.from_bytes(task_run_id) if task_run_id else None,
        created=clock.to_datetime(created),
        updated=clock.to_datetime(updated),
    )


def _to_collection(latest: Artifact) -> ArtifactCollection:
    key = latest.key or ""
    return ArtifactCollection(
        id=ids.from_bytes(hashlib.blake2b(key.encode(), digest_size=16).digest()),
        key=key,
        latest_id=latest.id,
        type=latest.type,
        description=latest.description,
        data=latest.data,
        metadata_=latest.metadata_,
        flow_run_id=latest.flow_run_id,
        task_run_id=latest.task_run_id,
        created=latest.created,
        updated=latest.updated,
    )
