"""When a run may change its state: pure decisions, made inside the transaction that writes them.

`decide` is asked with the run's current state type, the state proposed, and the facts. Rules are tried in order; the first
that has something to say wins. What each does is the field's own set of rules (DESIGN, section 4, and the inventory of
rules there named by the names used here).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tidemill import clock
from tidemill.exceptions import IllegalTransition
from tidemill.states import (
    ALLOWED_TRANSITIONS,
    CANCELLED,
    CANCELLING,
    CRASHED,
    FAILED,
    PAUSED,
    PENDING,
    RUNNING,
    SCHEDULED,
    TERMINAL_TYPES,
    AwaitingRetry,
    State,
    StateType,
)


@dataclass(frozen=True, slots=True)
class Accept:
    """The proposed state is written (renamed where a rule says so)."""

    state: State[Any]


@dataclass(frozen=True, slots=True)
class Reject:
    """Another state is written instead, or none."""

    state: State[Any] | None
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet: propose again after so many seconds."""

    delay_seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Abort:
    """No, and whoever proposes should stop working on the run."""

    reason: str


Decision = Accept | Reject | Wait | Abort


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules may know of a run. Times are microseconds, delays seconds."""

    current: StateType | None
    now: int
    run_count: int = 0
    retries: int = 0
    retries_made: int = 0
    retry_delay: float = 0.0
    retriable: bool = True
    scheduled_time: int | None = None
    deployed: bool = False
    result_kept: bool = False
    transition_id: str | None = None
    attempt_is_current: bool = True


Rule = Callable[[State[Any], Facts], Decision | None]


def fence_stale_attempts(proposed: State[Any], facts: Facts) -> Decision | None:
    if not facts.attempt_is_current:
        return Abort("Another attempt of this run has taken over.")
    return None


def prevent_duplicate_transitions(proposed: State[Any], facts: Facts) -> Decision | None:
    transition = proposed.state_details.transition_id
    if transition is not None and transition == facts.transition_id:
        return Reject(None, "This transition has been made already.")
    return None


def handle_terminal_states(proposed: State[Any], facts: Facts) -> Decision | None:
    """A finished run changes only to begin another attempt; a completed one whose result is kept stays completed."""
    if facts.current not in TERMINAL_TYPES:
        return None
    if proposed.type in (CANCELLING, PAUSED, CRASHED):
        return Abort("This run has already ended.")
    if facts.current is StateType.COMPLETED and facts.result_kept:
        return Reject(None, "Run is already COMPLETED.")
    if proposed.type is SCHEDULED and not facts.deployed:
        return Abort("Cannot reschedule a run without an associated deployment.")
    return None


def enforce_cancelling_to_cancelled(proposed: State[Any], facts: Facts) -> Decision | None:
    if facts.current is CANCELLING and proposed.type not in (CANCELLED, CANCELLING):
        return Reject(None, "The run is being cancelled; it can only become CANCELLED.")
    return None


def prevent_pending_transitions(proposed: State[Any], facts: Facts) -> Decision | None:
    """A run that somebody has taken up is not taken up twice."""
    current = facts.current
    if proposed.type is not PENDING or current is None or current not in (PENDING, RUNNING, CANCELLING, CANCELLED):
        return None
    if current is PENDING and proposed.name != "Pending":
        return None
    return Abort(f"This run is in a {current.value} state and cannot transition to a PENDING state.")


def wait_for_scheduled_time(proposed: State[Any], facts: Facts) -> Decision | None:
    if proposed.type is not RUNNING or facts.scheduled_time is None or facts.current not in (SCHEDULED, PENDING):
        return None
    delay = (facts.scheduled_time - facts.now) / 1_000_000
    return Wait(delay, "Scheduled time is in the future") if delay > 0 else None


def retry_failed_runs(proposed: State[Any], facts: Facts) -> Decision | None:
    if facts.current is not RUNNING or proposed.type is not FAILED or not facts.retriable:
        return None
    if facts.retries_made >= facts.retries:
        return None
    return Reject(AwaitingRetry(delay_seconds=facts.retry_delay, message=proposed.message), "Retrying")


def name_reruns(proposed: State[Any], facts: Facts) -> Decision | None:
    if proposed.type is RUNNING and proposed.name == "Running" and facts.run_count > 0 and facts.current is not PAUSED:
        proposed.name = "Resuming" if facts.current is CRASHED else "Retrying"
    return None


COMMON_RULES: Sequence[Rule] = (
    fence_stale_attempts,
    prevent_duplicate_transitions,
    handle_terminal_states,
    enforce_cancelling_to_cancelled,
    prevent_pending_transitions,
    wait_for_scheduled_time,
    retry_failed_runs,
    name_reruns,
)


def decide(proposed: State[Any], facts: Facts, rules: Sequence[Rule] = COMMON_RULES) -> Decision:
    """What becomes of a proposed state."""
    for rule in rules:
        decision = rule(proposed, facts)
        if decision is not None:
            return decision
    if proposed.type not in ALLOWED_TRANSITIONS[facts.current]:
        current = facts.current.value if facts.current else "no state"
        return Abort(f"A run cannot go from {current} to {proposed.type.value}.")
    return Accept(proposed)


def check_transition(run: str, story: Sequence[Sequence[Any]], proposed: StateType) -> None:
    """Raises IllegalTransition, with the run's story, if a run cannot go from its last state to `proposed`.

    Args:
        run: how to name the run, e.g. "task run 'add_one-3c3112ef-0'".
        story: its states so far, each beginning with type, name, message and time (microseconds).
        proposed: the next type.
    """
    current = StateType(story[-1][0]) if story else None
    if proposed in ALLOWED_TRANSITIONS[current]:
        return
    told = "\n".join(f"  {clock.to_datetime(step[3]).isoformat()}  {step[1] or step[0].capitalize()}" for step in story)
    raise IllegalTransition(
        f"The {run} cannot go from {current.value if current else 'nothing'} to {proposed.value}. Its story so far:\n{told}"
    )
