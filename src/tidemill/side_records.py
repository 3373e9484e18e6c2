"""What is recorded beside runs: variables, artifacts, saved searches, inputs of flow runs, and limits on concurrency.

The structs have the field names of the REST API and are what travels on the wire. In a change, what is UNSET (or, where
nothing can be none, None) stays as it is.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tidemill.filters import Id

# `$` alone would let a line end pass.
VariableName = Annotated[str, Meta(pattern=r"^[a-z0-9_-]+(?!\n)$", max_length=255)]
ArtifactKey = Annotated[str, Meta(pattern=r"^[a-z0-9-]+(?!\n)$", max_length=255)]
InputKey = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:-]+(?!\n)$", max_length=255)]
LimitName = Annotated[str, Meta(pattern=r"^[^/%&><\x00]+$", max_length=255)]
SearchName = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Rate = Annotated[float, Meta(ge=0, le=1e9)]

TAG_PREFIX = "tag:"


class NewVariable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A variable to be created; its value is anything that JSON can say."""

    name: VariableName
    value: Any
    tags: list[str] = []


class VariableChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: VariableName | None = None
    value: Any | UnsetType = UNSET
    tags: list[str] | None = None


class Variable(msgspec.Struct, kw_only=True):
    """A named value that runs share."""

    id: str
    name: str
    value: Any
    tags: list[str]
    created: datetime
    updated: datetime


class NewArtifact(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    key: ArtifactKey | None = None
    type: str | None = None
    description: str | None = None
    data: Any = None
    metadata_: dict[str, str] | None = None
    flow_run_id: Id | None = None
    task_run_id: Id | None = None


class ArtifactChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    data: Any | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    metadata_: dict[str, str] | UnsetType | None = UNSET


class Artifact(msgspec.Struct, kw_only=True):
    """Something that a run made for people to look at. Those with one key are versions of one thing."""

    id: str
    key: str | None = None
    type: str | None = None
    description: str | None = None
    data: Any = None
    metadata_: dict[str, str] | None = None
    flow_run_id: str | None = None
    task_run_id: str | None = None
    created: datetime
    updated: datetime


class ArtifactCollection(msgspec.Struct, kw_only=True):
    """All artifacts of one key, shown by the latest of them. `id` is always the same for a key."""

    id: str
    key: str
    latest_id: str
    type: str | None = None
    description: str | None = None
    data: Any = None
    metadata_: dict[str, str] | None = None
    flow_run_id: str | None = None
    task_run_id: str | None = None
    created: datetime
    updated: datetime


class SavedSearchFilter(msgspec.Struct, kw_only=True):
    """One condition of a saved search; who searches knows what it means."""

    object: str
    property: str
    type: str
    operation: str
    value: Any


class NewSavedSearch(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: SearchName
    filters: list[SavedSearchFilter] = []


class SavedSearch(msgspec.Struct, kw_only=True):
    """Conditions that somebody wants to search by again, under a name."""

    id: str
    name: str
    filters: list[SavedSearchFilter]
    created: datetime
    updated: datetime


class NewFlowRunInput(msgspec.Struct, kw_only=True):
    key: InputKey
    value: str
    sender: str | None = None


class FlowRunInput(msgspec.Struct, kw_only=True):
    """A value that was given to a flow run while it runs; text, which is kept as it is."""

    id: str
    flow_run_id: str
    key: str
    value: str
    sender: str | None = None
    created: datetime
    updated: datetime


class NewConcurrencyLimit(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: LimitName
    limit: Count
    active: bool = True
    active_slots: Count = 0
    denied_slots: Count = 0
    slot_decay_per_second: Rate = 0.0


class ConcurrencyLimitChange(msgspec.Struct, kw_only=True):
    name: LimitName | None = None
    limit: Count | None = None
    active: bool | None = None
    active_slots: Count | None = None
    denied_slots: Count | None = None
    slot_decay_per_second: Rate | None = None


class ConcurrencyLimit(msgspec.Struct, kw_only=True):
    """How much may go on at once under a name. What is taken comes back at `slot_decay_per_second`, if that is not 0."""

    id: str
    name: str
    limit: int
    active: bool
    active_slots: int
    denied_slots: int
    slot_decay_per_second: float
    avg_slot_occupancy_seconds: float
    created: datetime
    updated: datetime


class TagLimit(msgspec.Struct, kw_only=True):
    """How many task runs with a tag may run at once; `active_slots` are those that do."""

    id: str
    tag: str
    concurrency_limit: int
    active_slots: list[str]
    created: datetime
    updated: datetime


class LimitInShort(msgspec.Struct, kw_only=True):
    id: str
    name: str
    limit: int


class LeaseHolder(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Who holds slots, as it says of itself."""

    type: Literal["flow_run", "task_run", "deployment"]
    id: Id
