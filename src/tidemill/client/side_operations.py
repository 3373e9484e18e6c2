"""The part of `get_client()` that is about what is recorded beside runs: variables, artifacts, limits on concurrency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from tidemill.client import Client
from tidemill.exceptions import ObjectNotFound
from tidemill.filters import (
    ArtifactFilter,
    ArtifactSort,
    Filters,
    FlowRunFilter,
    Page,
    TaskRunFilter,
    VariableFilter,
    VariableSort,
)
from tidemill.orchestration.limits import Granted
from tidemill.side_records import (
    Artifact,
    ArtifactChange,
    ConcurrencyLimit,
    ConcurrencyLimitChange,
    NewArtifact,
    NewConcurrencyLimit,
    NewVariable,
    TagLimit,
    Variable,
    VariableChange,
)

T = TypeVar("T")


class SideOperations:
    """For `TidemillClient` to inherit."""

    def __init__(self, client: Client) -> None:
        self._client = client

    # Variables

    async def create_variable(self, name: str, value: Any, tags: Sequence[str] = ()) -> Variable:
        """Creates a variable, whose value is anything that JSON can say. Raises ObjectExists."""
        return await self._client.answer("create_variable", Variable, NewVariable(name=name, value=value, tags=list(tags)))

    async def read_variable_by_name(self, name: str) -> Variable | None:
        """The variable of this name, if there is one."""
        return await self._client.answer("variable", Variable | None, name)

    async def read_variables(
        self,
        variable_filter: VariableFilter | None = None,
        *,
        sort: VariableSort = VariableSort.NAME_ASC,
        limit: int | None = 200,
        offset: int = 0,
    ) -> list[Variable]:
        """Variables, by name."""
        return await self._client.answer("variables", list[Variable], variable_filter, sort, Page(limit, offset))

    async def update_variable(self, name: str, changed: VariableChange) -> None:
        """Changes what is named of a variable. Raises ObjectNotFound, ObjectExists (the new name)."""
        await self._client.answer("change_variable", None, name, changed)

    async def delete_variable_by_name(self, name: str) -> None:
        """Raises ObjectNotFound."""
        await self._client.answer("delete_variable", None, name)

    # Artifacts

    async def create_artifact(self, artifact: NewArtifact) -> Artifact:
        """Raises ObjectNotFound: it names a flow run that is not there."""
        return await self._client.answer("create_artifact", Artifact, artifact)

    async def read_artifact(self, artifact_id: str) -> Artifact:
        """Raises ObjectNotFound."""
        return existing(await self._client.answer("artifact", Artifact | None, artifact_id), f"artifact {artifact_id}")

    async def read_latest_artifact(self, key: str) -> Artifact | None:
        """The newest artifact of a key, if there is one."""
        return await self._client.answer("latest_artifact", Artifact | None, key)

    async def read_artifacts(
        self,
        *,
        artifact_filter: ArtifactFilter | None = None,
        flow_run_filter: FlowRunFilter | None = None,
        task_run_filter: TaskRunFilter | None = None,
        sort: ArtifactSort = ArtifactSort.ID_DESC,
        limit: int | None = 200,
        offset: int = 0,
    ) -> list[Artifact]:
        """Artifacts, by themselves and by the runs that made them; the newest first."""
        runs = Filters(flow_runs=flow_run_filter, task_runs=task_run_filter)
        return await self._client.answer("artifacts", list[Artifact], artifact_filter, runs, sort, Page(limit, offset))

    async def update_artifact(self, artifact_id: str, changed: ArtifactChange) -> None:
        """Changes what is named of an artifact. Raises ObjectNotFound."""
        await self._client.answer("change_artifact", None, artifact_id, changed)

    async def delete_artifact(self, artifact_id: str) -> None:
        """Raises ObjectNotFound."""
        await self._client.answer("delete_artifact", None, artifact_id)

    # Limits on concurrency

    async def create_global_concurrency_limit(self, limit: NewConcurrencyLimit) -> ConcurrencyLimit:
        """Raises ObjectExists."""
        return await self._client.answer("create_limit", ConcurrencyLimit, limit)

    async def read_global_concurrency_limit_by_name(self, name: str) -> ConcurrencyLimit:
        """Raises ObjectNotFound."""
        found: ConcurrencyLimit | None = await self._client.answer("limit", ConcurrencyLimit | None, name)
        return existing(found, f"concurrency limit {name!r}")

    async def read_global_concurrency_limits(self, *, limit: int | None = 200, offset: int = 0) -> list[ConcurrencyLimit]:
        """The limits, by name."""
        return await self._client.answer("limits", list[ConcurrencyLimit], Page(limit, offset))

    async def update_global_concurrency_limit(self, name: str, changed: ConcurrencyLimitChange) -> None:
        """Changes what is named of a limit. Raises ObjectNotFound, ObjectExists (the new name)."""
        await self._client.answer("change_limit", None, name, changed)

    async def delete_global_concurrency_limit_by_name(self, name: str) -> None:
        """Raises ObjectNotFound."""
        await self._client.answer("delete_limit", None, name)

    async def increment_concurrency_slots(
        self, names: Sequence[str], slots: int, *, lease_seconds: float | None = None
    ) -> Granted:
        """Takes slots of all the limits of these names that there are, or of none; under a lease, if that is to end.

        Raises:
            OrchestrationError: one of them has too few that are free; says when to ask again.
        """
        return await self._client.answer("take_slots", Granted, list(names), slots, lease_seconds)

    async def release_concurrency_slots(self, names: Sequence[str], slots: int) -> None:
        """Gives back slots that were taken without a lease."""
        await self._client.answer("give_slots_back", None, list(names), slots)

    async def release_concurrency_slots_with_lease(self, lease_id: str) -> None:
        """Gives back what a lease holds."""
        await self._client.answer("give_lease_back", None, lease_id)

    async def create_concurrency_limit(self, tag: str, concurrency_limit: int) -> TagLimit:
        """Limits how many task runs with a tag may run at once, in place of the limit there is."""
        return await self._client.answer("limit_tag", TagLimit, tag, concurrency_limit)

    async def read_concurrency_limit_by_tag(self, tag: str) -> TagLimit:
        """Raises ObjectNotFound."""
        return existing(await self._client.answer("tag_limit", TagLimit | None, tag), f"concurrency limit on tag {tag!r}")

    async def read_concurrency_limits(self, *, limit: int | None = 200, offset: int = 0) -> list[TagLimit]:
        """The limits on tags, by tag."""
        return await self._client.answer("tag_limits", list[TagLimit], Page(limit, offset))

    async def delete_concurrency_limit_by_tag(self, tag: str) -> None:
        """Raises ObjectNotFound."""
        await self._client.answer("delete_tag_limit", None, tag)


def existing(found: T | None, what: str) -> T:
    """What was found.

    Raises:
        ObjectNotFound: it was not.
    """
    if found is None:
        raise ObjectNotFound(f"There is no {what}; it may have been deleted.")
    return found
