"""What things are: a task run's progress, its retries, and its record as its own process knows it."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tidemill import clock, ids
from tidemill.records import Progress, RunPolicy, TaskRun, TaskRunEntry, TaskRunPolicy, seconds, states_of_history, task_run_of
from tidemill.states import (
    CANCELLED,
    COMPLETED,
    CRASHED,
    FAILED,
    PENDING,
    RUNNING,
    SCHEDULED,
    Completed,
    FullStateDetails,
    StateType,
)

START = 1_714_564_800_000_000
NEW = Progress(PENDING, "Pending", (("PENDING", None, None, START),))
RUN_ID = "01920000-0000-7000-8000-000000000001"


def progress(*steps: tuple[StateType, int]) -> Progress:
    """The progress of a run that went through these states, at so many seconds after its beginning."""
    story = NEW
    for type, second in steps:
        story = story.then(type, None, None, START + second * 1_000_000)
    return story


TRIED_TWICE = progress((RUNNING, 1), (SCHEDULED, 3), (RUNNING, 10), (COMPLETED, 14))


class TestProgress:
    def test_every_step_is_kept_in_order(self) -> None:
        story = NEW.then(RUNNING, None, None, START + 1).then(FAILED, "TimedOut", "too slow", START + 2)
        assert story.history == (
            ("PENDING", None, None, START),
            ("RUNNING", None, None, START + 1),
            ("FAILED", "TimedOut", "too slow", START + 2),
        )
        assert (story.type, story.name) == (FAILED, "TimedOut")

    def test_a_step_without_a_name_is_called_by_its_type(self) -> None:
        assert progress((SCHEDULED, 1)).name == "Scheduled"

    def test_what_was_before_stays_as_it_was(self) -> None:
        NEW.then(RUNNING, None, None, START + 1)
        assert len(NEW.history) == 1
        with pytest.raises(AttributeError):
            NEW.run_count = 1  # type: ignore[misc]

    def test_times_never_decrease(self) -> None:
        story = NEW.then(RUNNING, None, None, START - 5_000_000).then(COMPLETED, None, None, START - 9_000_000)
        assert [time for _, _, _, time in story.history] == [START, START, START]
        assert (story.start_time, story.end_time, story.total_run_time) == (START, START, 0)

    def test_each_try_counts(self) -> None:
        assert NEW.run_count == 0
        assert progress((RUNNING, 1)).run_count == 1
        assert TRIED_TWICE.run_count == 2

    def test_it_started_when_it_ran_first(self) -> None:
        assert NEW.start_time is None
        assert TRIED_TWICE.start_time == START + 1_000_000

    def test_only_the_time_in_running_counts_as_run_time(self) -> None:
        assert progress((RUNNING, 1)).total_run_time == 0
        assert TRIED_TWICE.total_run_time == (2 + 4) * 1_000_000
        assert progress((RUNNING, 1), (RUNNING, 3), (FAILED, 4)).total_run_time == 3_000_000

    @pytest.mark.parametrize("type", [COMPLETED, FAILED, CRASHED, CANCELLED])
    def test_it_ends_with_a_final_state(self, type: StateType) -> None:
        assert progress((RUNNING, 1), (type, 2)).end_time == START + 2_000_000

    def test_a_run_that_goes_on_has_no_end(self) -> None:
        assert progress((RUNNING, 1), (FAILED, 2), (RUNNING, 3)).end_time is None
        assert progress((RUNNING, 1), (SCHEDULED, 2)).end_time is None


class TestRunPolicy:
    @pytest.mark.parametrize(
        ("delay", "each"),
        [(0.0, [0, 0, 0]), (1.5, [1.5, 1.5, 1.5]), ([1.0, 5.0], [1, 5, 5]), ([7.0], [7, 7, 7]), ([], [0, 0, 0])],
    )
    def test_the_last_delay_serves_for_all_that_follow(self, delay: float | list[float], each: list[float]) -> None:
        policy = RunPolicy(retries=3, retry_delay=delay)
        assert [policy.delay_before(retry) for retry in (1, 2, 3)] == each

    @pytest.mark.parametrize(
        "policy", [RunPolicy(), RunPolicy(retries=3, retry_delay=[1.0, 2.0]), RunPolicy(retries=1, retry_jitter_factor=0.5)]
    )
    def test_it_is_json_and_back(self, policy: RunPolicy) -> None:
        assert msgspec.json.decode(msgspec.json.encode(policy), type=RunPolicy) == policy

    def test_what_is_as_usual_is_left_out(self) -> None:
        assert msgspec.json.encode(RunPolicy()) == b"{}"


class TestStatesOfHistory:
    def test_each_step_is_a_state_of_the_run(self) -> None:
        first, second = states_of_history(RUN_ID, [["PENDING", None, None, START], ["FAILED", "TimedOut", "slow", START + 7]])
        assert (first.type, first.name, first.message) == (PENDING, "Pending", None)
        assert (second.type, second.name, second.message) == (FAILED, "TimedOut", "slow")
        assert second.timestamp - first.timestamp == timedelta(microseconds=7)
        assert first.state_details == FullStateDetails(task_run_id=RUN_ID)

    def test_their_ids_follow_from_the_runs(self) -> None:
        once, again = (states_of_history(RUN_ID, TRIED_TWICE.history) for _ in range(2))
        assert [state.id for state in once] == [state.id for state in again] == [ids.nth_id(RUN_ID, n) for n in range(5)]


def entry(**more: Any) -> TaskRunEntry:
    fields: dict[str, Any] = {
        "id": RUN_ID,
        "flow_run_id": None,
        "attempt": 2,
        "name": "add_one-3c3112ef-0",
        "task_key": "module.add_one",
        "dynamic_key": "0",
        "tags": '["a"]',
        "policy": '{"retries":1}',
        "created": START,
        "progress": TRIED_TWICE,
        "task_inputs": '{"x":[]}',
    }
    return TaskRunEntry(**{**fields, **more})


class TestTaskRunOf:
    def test_the_record_has_the_names_of_the_rest_api(self) -> None:
        record = msgspec.to_builtins(task_run_of(entry(), Completed(data=None)))
        assert record["name"] == "add_one-3c3112ef-0"
        assert record["tags"] == ["a"]
        assert record["task_inputs"] == {"x": []}
        assert record["empirical_policy"] == msgspec.to_builtins(TaskRunPolicy(retries=1))
        assert (record["run_count"], record["flow_run_run_count"]) == (2, 2)
        assert (record["state_type"], record["state_name"]) == ("COMPLETED", "Completed")
        assert record["start_time"] == "2024-05-01T12:00:01Z"
        assert record["end_time"] == "2024-05-01T12:00:14Z"
        assert record["total_run_time"] == 6.0

    def test_a_run_without_a_policy_is_not_retried(self) -> None:
        assert task_run_of(entry(policy=None), Completed()).empirical_policy == TaskRunPolicy()

    def test_a_run_that_has_not_started_has_no_times(self) -> None:
        record = task_run_of(entry(progress=NEW), states_of_history(RUN_ID, NEW.history)[0])
        assert (record.start_time, record.end_time, record.total_run_time) == (None, None, 0.0)
        assert record.created == record.expected_start_time == clock.to_datetime(START)

    def test_it_is_json_and_back(self) -> None:
        record = task_run_of(entry(), Completed())
        assert msgspec.json.decode(msgspec.json.encode(record), type=TaskRun).name == record.name


@pytest.mark.parametrize(("microseconds", "length"), [(0, 0.0), (1, 0.000_001), (1_500_000, 1.5), (-1, -0.000_001)])
def test_a_length_of_time_is_seconds_on_the_wire(microseconds: int, length: float) -> None:
    assert seconds(microseconds) == length
