"""When a run may change its state: each rule by a table, and the decision they make together."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from tidemill import clock, rules
from tidemill.exceptions import IllegalTransition
from tidemill.records import FlowRunPolicy
from tidemill.rules import Abort, Accept, Facts, Reject, Wait, check_transition, decide
from tidemill.states import (
    ALLOWED_TRANSITIONS,
    AwaitingRetry,
    Completed,
    Failed,
    Pending,
    Retrying,
    Running,
    Scheduled,
    State,
    StateDetails,
    StateType,
    TimedOut,
)

(SCHEDULED, PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, CRASHED, PAUSED, CANCELLING) = StateType
TERMINAL = (COMPLETED, FAILED, CANCELLED, CRASHED)
NOW = 1_000_000_000


def facts(current: StateType | None, **known: Any) -> Facts:
    return Facts(current=current, now=NOW, **known)


def proposed(type: StateType, **more: Any) -> State[Any]:
    return State(type=type, **more)


def with_transition(state: State[Any], transition: str | None) -> State[Any]:
    state.state_details.transition_id = transition
    return state


@pytest.mark.parametrize("type", StateType)
def test_a_stale_attempt_is_told_to_stop_whatever_it_wants(type: StateType) -> None:
    stale = facts(RUNNING, attempt_is_current=False)
    assert rules.fence_stale_attempts(proposed(type), stale) == Abort("Another attempt of this run has taken over.")
    assert rules.fence_stale_attempts(proposed(type), replace(stale, attempt_is_current=True)) is None


@pytest.mark.parametrize(
    ("asked", "made", "rejected"),
    [("a", "a", True), ("a", "b", False), ("a", None, False), (None, "a", False), (None, None, False)],
)
def test_a_transition_is_made_once(asked: str | None, made: str | None, rejected: bool) -> None:
    decision = rules.prevent_duplicate_transitions(with_transition(Running(), asked), facts(PENDING, transition_id=made))
    assert (decision == Reject(None, "This transition has been made already.")) is rejected
    assert rejected or decision is None


@pytest.mark.parametrize(("current", "type"), [*product(TERMINAL, (CANCELLING, PAUSED, CRASHED))])
def test_a_run_that_has_ended_cannot_be_stopped(current: StateType, type: StateType) -> None:
    assert rules.handle_terminal_states(proposed(type), facts(current)) == Abort("This run has already ended.")


@pytest.mark.parametrize("type", [SCHEDULED, PENDING, RUNNING, COMPLETED, FAILED, CANCELLED])
def test_a_completed_run_whose_result_is_kept_stays_completed(type: StateType) -> None:
    decision = rules.handle_terminal_states(proposed(type), facts(COMPLETED, result_kept=True))
    assert decision == Reject(None, "Run is already COMPLETED.")


@pytest.mark.parametrize(("current", "kept"), [(COMPLETED, False), (FAILED, True), (CRASHED, True), (CANCELLED, True)])
def test_any_other_run_that_has_ended_may_begin_again(current: StateType, kept: bool) -> None:
    assert rules.handle_terminal_states(Running(), facts(current, result_kept=kept)) is None


@pytest.mark.parametrize(("deployed", "answer"), [(False, Abort), (True, type(None))])
def test_only_a_deployed_run_that_has_ended_can_be_scheduled_again(deployed: bool, answer: type) -> None:
    assert isinstance(rules.handle_terminal_states(Scheduled(), facts(FAILED, deployed=deployed)), answer)


@pytest.mark.parametrize("current", [None, SCHEDULED, PENDING, RUNNING, PAUSED, CANCELLING])
def test_a_run_that_has_not_ended_is_no_business_of_that_rule(current: StateType | None) -> None:
    assert all(rules.handle_terminal_states(proposed(type), facts(current)) is None for type in StateType)


@pytest.mark.parametrize("type", StateType)
def test_a_run_that_is_being_cancelled_can_only_be_cancelled(type: StateType) -> None:
    decision = rules.enforce_cancelling_to_cancelled(proposed(type), facts(CANCELLING))
    if type in (CANCELLED, CANCELLING):
        assert decision is None
    else:
        assert isinstance(decision, Reject)
        assert decision.state is None
    assert rules.enforce_cancelling_to_cancelled(proposed(type), facts(RUNNING)) is None


@pytest.mark.parametrize("current", [None, *StateType])
def test_a_run_that_somebody_has_taken_up_is_not_taken_up_twice(current: StateType | None) -> None:
    decision = rules.prevent_pending_transitions(Pending(), facts(current))
    if current in (PENDING, RUNNING, CANCELLING, CANCELLED):
        assert decision == Abort(f"This run is in a {current.value} state and cannot transition to a PENDING state.")
    else:
        assert decision is None


def test_a_pending_run_may_say_more_precisely_what_it_waits_for() -> None:
    assert rules.prevent_pending_transitions(Pending(name="NotReady"), facts(PENDING)) is None
    assert isinstance(rules.prevent_pending_transitions(Pending(name="NotReady"), facts(RUNNING)), Abort)


@pytest.mark.parametrize(
    ("current", "type", "scheduled", "delay"),
    [
        (SCHEDULED, RUNNING, NOW + 2_500_000, 2.5),
        (PENDING, RUNNING, NOW + 1, 0.000_001),
        (SCHEDULED, RUNNING, NOW, None),
        (SCHEDULED, RUNNING, NOW - 1, None),
        (SCHEDULED, RUNNING, None, None),
        (SCHEDULED, PENDING, NOW + 1, None),
        (RUNNING, RUNNING, NOW + 1, None),
        (PAUSED, RUNNING, NOW + 1, None),
        (FAILED, RUNNING, NOW + 1, None),
    ],
)
def test_a_run_waits_for_its_time(current: StateType, type: StateType, scheduled: int | None, delay: float | None) -> None:
    decision = rules.wait_for_scheduled_time(proposed(type), facts(current, scheduled_time=scheduled))
    assert decision == (None if delay is None else Wait(delay, "Scheduled time is in the future"))


@pytest.mark.parametrize(
    ("current", "type", "retries_made", "retries", "retriable", "again"),
    [
        (RUNNING, FAILED, 0, 1, True, True),
        (RUNNING, FAILED, 2, 3, True, True),
        (RUNNING, FAILED, 1, 1, True, False),
        (RUNNING, FAILED, 0, 0, True, False),
        (RUNNING, FAILED, 0, 1, False, False),
        (RUNNING, CRASHED, 0, 1, True, False),
        (RUNNING, CANCELLED, 0, 1, True, False),
        (PENDING, FAILED, 0, 1, True, False),
    ],
)
def test_a_run_that_failed_is_tried_again_as_often_as_it_may(
    current: StateType, type: StateType, retries_made: int, retries: int, retriable: bool, again: bool
) -> None:
    known = facts(current, run_count=9, retries_made=retries_made, retries=retries, retriable=retriable, retry_delay=60)
    before = clock.now()
    decision = rules.retry_failed_runs(proposed(type, message="why"), known)
    if not again:
        assert decision is None
        return
    assert isinstance(decision, Reject)
    assert decision.state is not None
    assert (decision.state.name, decision.state.message) == ("AwaitingRetry", "why")
    when = decision.state.state_details.scheduled_time
    assert when is not None
    assert before + 60_000_000 <= clock.from_datetime(when) <= clock.now() + 60_000_000


@pytest.mark.parametrize(
    ("state", "current", "run_count", "name"),
    [
        (Running(), FAILED, 1, "Retrying"),
        (Running(), CRASHED, 1, "Resuming"),
        (Running(), SCHEDULED, 2, "Retrying"),
        (Running(), PENDING, 0, "Running"),
        (Running(), PAUSED, 1, "Running"),
        (Running(name="Warming up"), FAILED, 1, "Warming up"),
        (Completed(), RUNNING, 1, "Completed"),
    ],
)
def test_a_run_that_runs_again_says_so(state: State[Any], current: StateType, run_count: int, name: str) -> None:
    assert rules.name_reruns(state, facts(current, run_count=run_count)) is None
    assert state.name == name


# Of pauses, cancelling and task runs, as clients of the REST API propose them


def paused(**details: Any) -> State[Any]:
    return proposed(PAUSED, state_details=StateDetails(**{"pause_key": "1", **details}))


@pytest.mark.parametrize("current", [None, *StateType])
def test_only_what_runs_is_paused(current: StateType | None) -> None:
    decision = rules.handle_pausing(paused(), facts(current))
    assert decision is None if current is RUNNING else isinstance(decision, Reject)


@pytest.mark.parametrize(
    ("details", "known", "answer"),
    [
        ({}, {}, type(None)),
        ({"pause_key": None}, {}, Reject),
        ({}, {"policy": FlowRunPolicy(pause_keys=["0", "1"])}, Reject),
        ({}, {"policy": FlowRunPolicy(pause_keys=["0"])}, type(None)),
        ({"pause_reschedule": True}, {}, Abort),
        ({"pause_reschedule": True}, {"deployed": True}, type(None)),
        ({"pause_reschedule": True}, {"deployed": True, "is_subflow": True}, Abort),
    ],
)
def test_each_pause_fires_once_and_only_what_can_begin_again_is_suspended(
    details: dict[str, Any], known: dict[str, Any], answer: type
) -> None:
    assert isinstance(rules.handle_pausing(paused(**details), facts(RUNNING, **known)), answer)


@pytest.mark.parametrize("type", StateType)
def test_a_paused_run_goes_on_or_ends(type: StateType) -> None:
    decision = rules.handle_resuming(proposed(type), facts(PAUSED))
    assert isinstance(decision, Reject) is (type in (PENDING, PAUSED))
    assert rules.handle_resuming(proposed(type), facts(RUNNING)) is None


@pytest.mark.parametrize(("suspended", "word"), [(False, "paused"), (True, "suspended")])
def test_a_pause_that_lasted_too_long_has_failed(suspended: bool, word: str) -> None:
    details = StateDetails(pause_timeout=clock.to_datetime(NOW), pause_reschedule=suspended)
    assert rules.handle_resuming(Running(), facts(PAUSED, details=details)) is None
    late = replace(facts(PAUSED, details=details), now=NOW + 1)
    decision = rules.handle_resuming(Running(), late)
    assert isinstance(decision, Reject)
    assert decision.state is not None
    assert (decision.state.type, decision.state.message) == (FAILED, f"The flow was {word} and never resumed.")
    assert rules.handle_resuming(Completed(), late) is None


@pytest.mark.parametrize(
    ("current", "known", "at_once"),
    [
        (SCHEDULED, {}, True),
        (PAUSED, {}, True),
        (SCHEDULED, {"has_infrastructure": True}, False),
        (PAUSED, {"has_infrastructure": True, "details": StateDetails(pause_reschedule=True)}, True),
        (SCHEDULED, {"has_infrastructure": True, "policy": FlowRunPolicy(resuming=True)}, True),
        (RUNNING, {}, False),
        (PENDING, {}, False),
    ],
)
def test_what_nobody_executes_is_cancelled_at_once(current: StateType, known: dict[str, Any], at_once: bool) -> None:
    decision = rules.cancel_at_once_what_nobody_executes(proposed(CANCELLING, message="why"), facts(current, **known))
    if not at_once:
        assert decision is None
        return
    assert isinstance(decision, Reject)
    assert decision.state is not None
    assert (decision.state.type, decision.state.message) == (CANCELLED, "why")


@pytest.mark.parametrize("current", [None, *StateType])
def test_only_what_is_scheduled_is_late(current: StateType | None) -> None:
    decision = rules.only_scheduled_runs_are_late(Scheduled(name="Late"), facts(current))
    assert decision is None if current is SCHEDULED else isinstance(decision, Reject)
    assert rules.only_scheduled_runs_are_late(Scheduled(), facts(current)) is None


@pytest.mark.parametrize(("current", "copied"), [(SCHEDULED, True), (PENDING, True), (PAUSED, False), (None, False)])
def test_a_run_that_is_taken_up_keeps_its_time(current: StateType | None, copied: bool) -> None:
    state = Pending()
    assert rules.copy_scheduled_time(state, facts(current, scheduled_time=NOW)) is None
    assert state.state_details.scheduled_time == (clock.to_datetime(NOW) if copied else None)


@pytest.mark.parametrize("flow_run", [None, *StateType])
def test_no_task_begins_in_a_flow_run_that_does_not_run(flow_run: StateType | None) -> None:
    details = StateDetails(pause_key="1", pause_timeout=clock.to_datetime(NOW))
    known = facts(PENDING, flow_run=flow_run, flow_run_details=details)
    decision = rules.prevent_tasks_of_stopped_flow_runs(Running(), known)
    if flow_run in (None, RUNNING):
        assert decision is None
    elif flow_run is PAUSED:
        assert isinstance(decision, Reject)
        assert decision.state is not None
        assert (decision.state.type, decision.state.name) == (PAUSED, "NotReady")
        assert (decision.state.state_details.pause_key, decision.state.state_details.pause_timeout) == (
            "1",
            clock.to_datetime(NOW),
        )
    else:
        assert isinstance(decision, Abort)
    assert rules.prevent_tasks_of_stopped_flow_runs(Completed(), known) is None


def test_a_task_run_that_has_ended_may_be_scheduled_again_unless_its_result_is_kept() -> None:
    assert rules.handle_terminal_task_states(Scheduled(), facts(FAILED)) is None
    assert isinstance(rules.handle_terminal_task_states(Scheduled(), facts(COMPLETED, result_kept=True)), Reject)
    assert isinstance(rules.handle_terminal_task_states(proposed(CRASHED), facts(FAILED)), Abort)


def test_force_does_not_lose_a_result() -> None:
    kept = facts(COMPLETED, result_kept=True)
    assert isinstance(decide(Completed(), kept, rules.FORCED_RULES, by_the_table=False), Reject)
    assert isinstance(decide(Completed(data=1), kept, rules.FORCED_RULES, by_the_table=False), Accept)
    assert isinstance(decide(Pending(), facts(RUNNING), rules.FORCED_RULES, by_the_table=False), Accept)


@pytest.mark.parametrize(
    ("current", "written", "before", "after"),
    [
        (RUNNING, paused(), {"pause_keys": ["0"]}, {"pause_keys": ["0", "1"]}),
        (PAUSED, Scheduled(name="Resuming"), {}, {"resuming": True}),
        (PENDING, Running(), {"resuming": True, "pause_keys": ["1"]}, {"pause_keys": ["1"]}),
        (SCHEDULED, Pending(), {"resuming": True}, {"resuming": True}),
        (RUNNING, AwaitingRetry(), {"pause_keys": ["1"], "resuming": True}, {"retry_type": "in_process"}),
        (RUNNING, Failed(), {"retry_type": "in_process"}, {}),
        (FAILED, Running(), {"pause_keys": ["1"], "retry_type": "in_process"}, {}),
        (FAILED, Scheduled(), {"pause_keys": ["1"]}, {"retry_type": "reschedule"}),
        (FAILED, Completed(), {"pause_keys": ["1"]}, {"pause_keys": ["1"]}),
    ],
)
def test_a_policy_follows_the_states(
    current: StateType, written: State[Any], before: dict[str, Any], after: dict[str, Any]
) -> None:
    known = facts(current, policy=FlowRunPolicy(retries=3, **before))
    assert rules.next_policy(written, known) == FlowRunPolicy(retries=3, **after)


def test_a_run_that_goes_on_after_a_pause_keeps_its_name() -> None:
    for known in (facts(PAUSED, run_count=1), facts(PENDING, run_count=1, policy=FlowRunPolicy(resuming=True))):
        assert rules.goes_on(Running(), known)
        assert not rules.goes_on(Completed(), known)
        state = Running()
        rules.name_reruns(state, known)
        assert state.name == "Running"
    assert not rules.goes_on(Running(), facts(PENDING))


class TestDecide:
    def test_what_no_rule_minds_is_accepted_as_it_is(self) -> None:
        state = TimedOut(message="x")
        assert decide(state, facts(RUNNING, run_count=1)) == Accept(state)

    def test_without_rules_the_table_of_transitions_decides(self) -> None:
        accepted = {
            (current, type)
            for current, type in product(ALLOWED_TRANSITIONS, StateType)
            if isinstance(decide(proposed(type), facts(current), rules=()), Accept)
        }
        assert accepted == {(current, type) for current, types in ALLOWED_TRANSITIONS.items() for type in types}

    def test_no_rule_lets_a_run_go_where_the_table_does_not(self) -> None:
        for current, type in product(ALLOWED_TRANSITIONS, StateType):
            decision = decide(proposed(type), facts(current))
            written = decision.state if isinstance(decision, Accept | Reject) else None
            assert written is None or written.type in ALLOWED_TRANSITIONS[current]

    def test_a_transition_that_is_not_allowed_names_both_ends(self) -> None:
        assert decide(Failed(), facts(COMPLETED)) == Abort("A run cannot go from COMPLETED to FAILED.")

    def test_a_stale_attempt_learns_nothing_else(self) -> None:
        stale = facts(COMPLETED, attempt_is_current=False, result_kept=True, transition_id="a")
        assert decide(with_transition(Running(), "a"), stale) == Abort("Another attempt of this run has taken over.")

    def test_a_retry_is_decided_before_the_failure_is_written(self) -> None:
        decision = decide(Failed(), facts(RUNNING, run_count=1, retries=1))
        assert isinstance(decision, Reject)
        assert decision.state is not None
        assert decision.state.is_scheduled()

    def test_the_retry_then_waits_and_runs_under_its_name(self) -> None:
        waiting = facts(SCHEDULED, run_count=1, scheduled_time=NOW + 1_000_000)
        assert decide(Running(), waiting) == Wait(1.0, "Scheduled time is in the future")
        decision = decide(Running(), replace(waiting, now=NOW + 1_000_000))
        assert isinstance(decision, Accept)
        assert decision.state.name == Retrying().name

    def test_the_life_of_a_run_that_is_cancelled(self) -> None:
        assert isinstance(decide(proposed(CANCELLING), facts(RUNNING)), Accept)
        assert isinstance(decide(Completed(), facts(CANCELLING)), Reject)
        assert isinstance(decide(AwaitingRetry(), facts(CANCELLING)), Reject)
        assert isinstance(decide(proposed(CANCELLED), facts(CANCELLING)), Accept)
        assert isinstance(decide(proposed(CANCELLED), facts(CANCELLED)), Accept)
        assert isinstance(decide(proposed(CANCELLING), facts(CANCELLED)), Abort)


class TestCheckTransition:
    STORY = (
        ("PENDING", None, None, 1_714_564_800_000_000),
        ("RUNNING", "Retrying", None, 1_714_564_801_500_000),
        ("COMPLETED", None, "done", 1_714_564_802_000_000),
    )

    def test_a_transition_that_is_allowed_passes(self) -> None:
        check_transition("task run 'x'", self.STORY[:2], COMPLETED)
        check_transition("task run 'x'", (), PENDING)

    def test_one_that_is_not_is_an_error_with_the_runs_story(self) -> None:
        with pytest.raises(IllegalTransition) as caught:
            check_transition("task run 'add_one-3c3112ef-0'", self.STORY, FAILED)
        assert str(caught.value).splitlines() == [
            "The task run 'add_one-3c3112ef-0' cannot go from COMPLETED to FAILED. Its story so far:",
            "  2024-05-01T12:00:00+00:00  Pending",
            "  2024-05-01T12:00:01.500000+00:00  Retrying",
            "  2024-05-01T12:00:02+00:00  Completed",
        ]
