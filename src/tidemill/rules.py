"""When a run may change its state: pure decisions, made inside the transaction that writes them.

`decide` is asked with the run's current state type, the state proposed, and the facts. Rules are tried in order; the first
that has something to say wins. What each does is the field's own set of rules (DESIGN, section 4, and the inventory of
rules there named by the names used here).

There is a set for whoever holds the run and what is done with it here, which also follows the table of transitions, and one
each for what clients of the REST API propose of flow runs and of task runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tidemill import clock
from tidemill.exceptions import IllegalTransition
from tidemill.records import FlowRunPolicy
from tidemill.states import (
    ALLOWED_TRANSITIONS,
    CANCELLED,
    CANCELLING,
    COMPLETED,
    CRASHED,
    FAILED,
    PAUSED,
    PENDING,
    RUNNING,
    SCHEDULED,
    TERMINAL_TYPES,
    AwaitingRetry,
    Cancelled,
    Failed,
    Paused,
    State,
    StateDetails,
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


_NO_DETAILS = StateDetails()
_NO_POLICY = FlowRunPolicy()


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules may know of a run. Times are microseconds, delays seconds.

    `details` are those of the current state; `flow_run` and `flow_run_details` are, of a task run, the state of the flow run
    that it belongs to.
    """

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
    details: StateDetails = _NO_DETAILS
    policy: FlowRunPolicy = _NO_POLICY
    is_subflow: bool = False
    has_infrastructure: bool = False
    flow_run: StateType | None = None
    flow_run_details: StateDetails = _NO_DETAILS


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
    if facts.current is COMPLETED and facts.result_kept:
        return Reject(None, "Run is already COMPLETED.")
    if proposed.type is SCHEDULED and not facts.deployed:
        return Abort("Cannot reschedule a run without an associated deployment.")
    return None


def handle_terminal_task_states(proposed: State[Any], facts: Facts) -> Decision | None:
    """The same of a task run, which may also be scheduled again."""
    if proposed.type is SCHEDULED and not (facts.current is COMPLETED and facts.result_kept):
        return None
    return handle_terminal_states(proposed, facts)


def keep_results(proposed: State[Any], facts: Facts) -> Decision | None:
    """The result of a completed run is not replaced by none."""
    if facts.current is COMPLETED and proposed.type is COMPLETED and facts.result_kept and proposed.data is None:
        return Reject(None, "Run is already COMPLETED, with a result.")
    return None


def enforce_cancelling_to_cancelled(proposed: State[Any], facts: Facts) -> Decision | None:
    if facts.current is CANCELLING and proposed.type not in (CANCELLED, CANCELLING):
        return Reject(None, "The run is being cancelled; it can only become CANCELLED.")
    return None


def cancel_at_once_what_nobody_executes(proposed: State[Any], facts: Facts) -> Decision | None:
    """Where there is no process to end, nobody would write that the run has been cancelled."""
    if proposed.type is not CANCELLING or facts.current not in (SCHEDULED, PAUSED):
        return None
    suspended = facts.policy.resuming or (facts.current is PAUSED and facts.details.pause_reschedule)
    if facts.has_infrastructure and not suspended:
        return None
    return Reject(Cancelled(message=proposed.message), "No process executes this run; it is cancelled at once.")


def prevent_pending_transitions(proposed: State[Any], facts: Facts) -> Decision | None:
    """A run that somebody has taken up is not taken up twice."""
    current = facts.current
    if proposed.type is not PENDING or current is None or current not in (PENDING, RUNNING, CANCELLING, CANCELLED):
        return None
    if current is PENDING and proposed.name != "Pending":
        return None
    return Abort(f"This run is in a {current.value} state and cannot transition to a PENDING state.")


def only_scheduled_runs_are_late(proposed: State[Any], facts: Facts) -> Decision | None:
    if proposed.type is SCHEDULED and proposed.name == "Late" and facts.current is not SCHEDULED:
        return Reject(None, "Only a scheduled run can be late.")
    return None


def handle_pausing(proposed: State[Any], facts: Facts) -> Decision | None:
    """Only what runs is paused, and each pause in its code once."""
    if proposed.type is not PAUSED:
        return None
    if facts.current is not RUNNING:
        return Reject(None, "Only a running flow run can be paused.")
    key = proposed.state_details.pause_key
    if key is None:
        return Reject(None, "A pause needs a key (state_details.pause_key).")
    if key in facts.policy.pause_keys:
        return Reject(None, "This pause has already fired.")
    if proposed.state_details.pause_reschedule and facts.is_subflow:
        return Abort("A subflow run cannot be suspended.")
    if proposed.state_details.pause_reschedule and not facts.deployed:
        return Abort("A flow run without a deployment cannot be suspended.")
    return None


def handle_resuming(proposed: State[Any], facts: Facts) -> Decision | None:
    """A paused run goes on, is scheduled to, or ends; once its time is over it has failed."""
    if facts.current is not PAUSED:
        return None
    if proposed.type not in (RUNNING, SCHEDULED, CANCELLING, *TERMINAL_TYPES):
        return Reject(None, f"A paused flow run cannot go to {proposed.type.value}.")
    until = facts.details.pause_timeout
    if proposed.type not in (RUNNING, SCHEDULED) or until is None or clock.from_datetime(until) >= facts.now:
        return None
    paused = "suspended" if facts.details.pause_reschedule else "paused"
    return Reject(Failed(message=f"The flow was {paused} and never resumed."), "The time for resuming is over.")


def copy_scheduled_time(proposed: State[Any], facts: Facts) -> Decision | None:
    """A run that is taken up before its time still waits for it."""
    details = proposed.state_details
    if proposed.type is PENDING and facts.current in (SCHEDULED, PENDING) and details.scheduled_time is None:
        details.scheduled_time = None if facts.scheduled_time is None else clock.to_datetime(facts.scheduled_time)
    return None


def prevent_tasks_of_stopped_flow_runs(proposed: State[Any], facts: Facts) -> Decision | None:
    """No task begins in a flow run that is paused or does not run."""
    if proposed.type is not RUNNING or facts.flow_run in (None, RUNNING):
        return None
    if facts.flow_run is not PAUSED:
        return Abort(f"Its flow run is in a {facts.flow_run.value} state, in which no task can run.")
    state = Paused(name="NotReady", message="Its flow run is paused.")
    for name in ("pause_timeout", "pause_reschedule", "pause_key"):
        setattr(state.state_details, name, getattr(facts.flow_run_details, name))
    return Reject(state, "Its flow run is paused.")


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
    if goes_on(proposed, facts):
        return None
    if proposed.type is RUNNING and proposed.name == "Running" and facts.run_count > 0:
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
# What clients of the REST API propose.
FLOW_RUN_RULES: Sequence[Rule] = (
    prevent_duplicate_transitions,
    handle_terminal_states,
    enforce_cancelling_to_cancelled,
    cancel_at_once_what_nobody_executes,
    prevent_pending_transitions,
    only_scheduled_runs_are_late,
    handle_pausing,
    handle_resuming,
    copy_scheduled_time,
    wait_for_scheduled_time,
    retry_failed_runs,
    name_reruns,
)
TASK_RUN_RULES: Sequence[Rule] = (
    prevent_duplicate_transitions,
    handle_terminal_task_states,
    prevent_tasks_of_stopped_flow_runs,
    copy_scheduled_time,
    wait_for_scheduled_time,
    retry_failed_runs,
    name_reruns,
)
# The same of those who insist (`force`).
FORCED_RULES: Sequence[Rule] = (keep_results, cancel_at_once_what_nobody_executes)
FORCED_TASK_RULES: Sequence[Rule] = (keep_results,)


def goes_on(written: State[Any], facts: Facts) -> bool:
    """Whether a run that runs in this state goes on after a pause, so that it is no new attempt."""
    return written.type is RUNNING and (facts.current is PAUSED or facts.policy.resuming)


def next_policy(written: State[Any], facts: Facts) -> FlowRunPolicy:
    """A flow run's policy once a state is written: which pauses have fired, whether it resumes, how it is retried."""
    policy, current = facts.policy, facts.current
    if written.type is PAUSED and current is RUNNING:
        keys = [*policy.pause_keys, written.state_details.pause_key or ""]
        return msgspec.structs.replace(policy, pause_keys=keys)
    if current is PAUSED and written.type is SCHEDULED:
        return msgspec.structs.replace(policy, resuming=True)
    if current in TERMINAL_TYPES and written.type not in TERMINAL_TYPES:
        again = "reschedule" if written.type is SCHEDULED else None
        return msgspec.structs.replace(policy, resuming=False, pause_keys=[], retry_type=again)
    if current is RUNNING and written.type is SCHEDULED and written.name == "AwaitingRetry":
        return msgspec.structs.replace(policy, resuming=False, pause_keys=[], retry_type="in_process")
    if current is RUNNING and written.type is FAILED:
        return msgspec.structs.replace(policy, retry_type=None)
    return msgspec.structs.replace(policy, resuming=policy.resuming and written.type is not RUNNING)


def decide(proposed: State[Any], facts: Facts, rules: Sequence[Rule] = COMMON_RULES, *, by_the_table: bool = True) -> Decision:
    """What becomes of a proposed state.

    Args:
        by_the_table: what no rule minds has to be a transition of the table, too.
    """
    for rule in rules:
        decision = rule(proposed, facts)
        if decision is not None:
            return decision
    if by_the_table and proposed.type not in ALLOWED_TRANSITIONS[facts.current]:
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
