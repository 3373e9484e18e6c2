"""Operations on what is recorded beside runs: variables, artifacts, and limits on concurrency, by id or by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from tidemill import clock
from tidemill.exceptions import ObjectExists, ObjectNotFound, OrchestrationError
from tidemill.filters import Page
from tidemill.orchestration.limits import Denied, Granted, LeaseTerms, give_slots_back, release_lease, take_slots
from tidemill.side_records import (
    TAG_PREFIX,
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
from tidemill.store import Store, artifacts, limits, retried, variables
from tidemill.store.filtering import Condition
from tidemill.store.rows import Fetch

T = TypeVar("T")


@retried
def create_variable(store: Store, new: NewVariable) -> Variable:
    """Creates a variable.

    Raises:
        ObjectExists: there is one of its name.
    """
    with store.transaction() as execute:
        return _made(variables.create(execute, new, clock.now()), f"variable {new.name!r}")


def variable(fetch: Fetch, name: str) -> Variable | None:
    """The variable of this name."""
    return variables.variable(fetch, variables.of_name(name))


@retried
def change_variable(store: Store, name: str, changed: VariableChange) -> None:
    """Changes what is named of a variable.

    Raises:
        ObjectNotFound: there is none of this name.
        ObjectExists: there is one of its new name.
    """
    with store.transaction() as execute:
        which = variables.of_name(name)
        if changed.name is not None and variables.is_taken(execute, changed.name, which):
            raise _exists(f"variable {changed.name!r}")
        _found(variables.change(execute, which, changed, clock.now()), f"variable {name!r}")


@retried
def delete_variable(store: Store, name: str) -> None:
    """Removes a variable.

    Raises:
        ObjectNotFound: there is none of this name.
    """
    with store.transaction() as execute:
        _found(variables.delete(execute, variables.of_name(name)), f"variable {name!r}")


@retried
def create_artifact(store: Store, new: NewArtifact) -> Artifact:
    """Creates an artifact.

    Raises:
        ObjectNotFound: it names a flow run that is not there.
    """
    with store.transaction() as execute:
        return _found(artifacts.create(execute, new, clock.now()), f"flow run {new.flow_run_id}")


@retried
def change_artifact(store: Store, artifact_id: str, changed: ArtifactChange) -> None:
    """Changes what is named of an artifact.

    Raises:
        ObjectNotFound: there is none of this id.
    """
    with store.transaction() as execute:
        _found(artifacts.change(execute, artifact_id, changed, clock.now()), f"artifact {artifact_id}")


@retried
def delete_artifact(store: Store, artifact_id: str) -> None:
    """Removes an artifact.

    Raises:
        ObjectNotFound: there is none of this id.
    """
    with store.transaction() as execute:
        _found(artifacts.delete(execute, artifact_id), f"artifact {artifact_id}")


@retried
def create_limit(store: Store, new: NewConcurrencyLimit) -> ConcurrencyLimit:
    """Creates a limit on concurrency.

    Raises:
        ObjectExists: there is one of its name.
    """
    with store.transaction() as execute:
        return _made(limits.create(execute, new, clock.now()), f"concurrency limit {new.name!r}")


def limit(fetch: Fetch, name: str) -> ConcurrencyLimit | None:
    """The limit of this name."""
    return limits.limit(fetch, limits.of_name(name), clock.now())


def all_limits(fetch: Fetch, page: Page) -> list[ConcurrencyLimit]:
    """The limits, by name."""
    return limits.limits(fetch, clock.now(), page)


@retried
def change_limit(store: Store, name: str, changed: ConcurrencyLimitChange) -> None:
    """Changes what is named of a limit. Fewer active slots than leases hold end those leases.

    Raises:
        ObjectNotFound: there is none of this name.
        ObjectExists: there is one of its new name.
    """
    with store.transaction() as execute:
        which = limits.of_name(name)
        if changed.name is not None and limits.is_taken(execute, changed.name, which):
            raise _exists(f"concurrency limit {changed.name!r}")
        _found(limits.change(execute, which, changed, clock.now()), f"concurrency limit {name!r}")


@retried
def delete_limit(store: Store, name: str) -> None:
    """Removes a limit, and ends the leases of its slots.

    Raises:
        ObjectNotFound: there is none of this name.
    """
    with store.transaction() as execute:
        _found(limits.delete(execute, limits.of_name(name)), f"concurrency limit {name!r}")


@retried
def limit_tag(store: Store, tag: str, slots: int) -> TagLimit:
    """Limits how many task runs with a tag may run at once, in place of the limit there is."""
    with store.transaction() as execute:
        return limits.keep_tag_limit(execute, tag, slots, clock.now())[0]


def tag_limit(fetch: Fetch, tag: str) -> TagLimit | None:
    """The limit on this tag."""
    return limits.tag_limit(fetch, _of_tag(tag), clock.now())


def tag_limits(fetch: Fetch, page: Page) -> list[TagLimit]:
    """The limits on tags, by tag."""
    return limits.tag_limits(fetch, clock.now(), page)


@retried
def delete_tag_limit(store: Store, tag: str) -> None:
    """Removes the limit on a tag.

    Raises:
        ObjectNotFound: there is none.
    """
    with store.transaction() as execute:
        _found(limits.delete(execute, _of_tag(tag)), f"concurrency limit on tag {tag!r}")


@retried
def take(store: Store, names: Sequence[str], slots: int, lease_seconds: float | None) -> Granted:
    """Takes slots of all the limits of these names that there are, or of none; under a lease, if that is to end.

    Raises:
        OrchestrationError: one of them has too few that are free.
    """
    terms = None if lease_seconds is None else LeaseTerms(lease_seconds)
    with store.transaction() as execute:
        answer = take_slots(execute, names, slots, clock.now(), terms=terms)
    if isinstance(answer, Denied):
        when = "" if answer.retry_after is None else f" Ask again in {answer.retry_after:.1f} seconds."
        raise OrchestrationError(f"{answer.reason}{when}")
    return answer


@retried
def give_back(store: Store, names: Sequence[str], slots: int) -> None:
    """Gives back slots that were taken without a lease."""
    with store.transaction() as execute:
        give_slots_back(execute, names, slots, clock.now())


@retried
def give_lease_back(store: Store, lease_id: str) -> None:
    """Gives back the slots that a lease holds."""
    with store.transaction() as execute:
        release_lease(execute, lease_id, clock.now())


def _of_tag(tag: str) -> Condition:
    return limits.of_name(TAG_PREFIX + tag)


def _made(made: T | None, what: str) -> T:
    if made is None:
        raise _exists(what)
    return made


def _found(found: Any, what: str) -> Any:
    if found is None or found is False:
        raise ObjectNotFound(f"There is no {what}; it may have been deleted.")
    return found


def _exists(what: str) -> ObjectExists:
    return ObjectExists(f"There is a {what} already; change it, or choose another name.")
