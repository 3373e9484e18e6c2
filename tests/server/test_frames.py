"""Task runs that come of the frames of the field's clients: the right history, in whatever order the frames come."""

import itertools
import json
import random

import pytest

from tidemill import clock
from tidemill.event_filters import RESOURCE_ID
from tidemill.ids import new_id
from tidemill.orchestration.observed import as_told
from tidemill.server.frames import MalformedFrame, observation, read_event
from tidemill.states import FOREIGN, StateType

RETRIED = ("Pending", "Running", "AwaitingRetry", "Retrying", "AwaitingRetry", "Retrying", "Completed")


def observed(frames):
    return [observation(read_event(json.dumps(frame))) for frame in frames]


def one_by_one(frames):
    entry = None
    for told in observed(frames):
        entry = as_told(entry, [told])
    return entry


def names(entry):
    return [step[1] or step[0].capitalize() for step in entry.progress.history]


def facts(entry):
    return entry.progress, entry.name, entry.attempt, entry.task_key, entry.dynamic_key, entry.tags


def test_a_frame_tells_all_there_is_to_know(story):
    frames = story("Pending", "Running", "Completed", name="add-1", tags=["b", "a", "b"], inputs={"x": [{"id": "1"}]})
    entry = as_told(None, observed(frames))

    assert names(entry) == ["Pending", "Running", "Completed"]
    assert entry.progress.type is StateType.COMPLETED
    assert entry.progress.run_count == 1
    assert entry.progress.start_time == entry.progress.history[1][3]
    assert entry.progress.end_time == entry.progress.history[2][3]
    assert entry.progress.total_run_time == 1_000_000
    assert entry.name == "add-1"
    assert entry.attempt == 1
    assert json.loads(entry.tags) == ["a", "b"]
    assert json.loads(entry.task_inputs) == {"x": [{"id": "1"}]}
    assert entry.flow_run_id == frames[0]["related"][0][RESOURCE_ID].removeprefix("prefect.flow-run.")


@pytest.mark.parametrize("states", [RETRIED[:2], RETRIED[:4], (*RETRIED[:4], "Completed"), ("Pending", "NotReady")])
def test_every_order_gives_the_same_run(story, states):
    frames = story(*states)
    expected = as_told(None, observed(frames))
    assert names(expected) == list(states)

    for order in itertools.permutations(frames):
        assert facts(one_by_one(order)) == facts(expected)
        assert facts(as_told(None, observed(order))) == facts(expected)


def test_any_order_in_any_portions_gives_the_same_run(story):
    frames = story(*RETRIED)
    expected = as_told(None, observed(frames))
    dice = random.Random(3)

    for _ in range(300):
        order = dice.choices(frames, k=5) + dice.sample(frames, len(frames))
        entry = None
        while order:
            n = dice.randint(1, 4)
            portion, order = order[:n], order[n:]
            entry = as_told(entry, observed(portion))
        assert facts(entry) == facts(expected)


def test_a_repeated_frame_changes_nothing(story):
    frames = story(*RETRIED)
    entry = one_by_one(frames)
    before = facts(entry)
    assert facts(as_told(entry, observed(frames))) == before


def test_a_late_running_frame_does_not_undo_the_end(story):
    pending, running, completed = story("Pending", "Running", "Completed")
    entry = one_by_one([pending, completed, running])
    assert entry.progress.type is StateType.COMPLETED
    assert names(entry) == ["Pending", "Running", "Completed"]
    assert entry.progress.end_time is not None


def test_clocks_of_two_machines_need_not_agree(story):
    """The run is Pending on one machine, and executes on another whose clock is an hour behind."""
    frames = story("Pending", "Running", "Completed", skew={"Pending": 3600})
    for order in itertools.permutations(frames):
        assert names(one_by_one(order)) == ["Pending", "Running", "Completed"]
        assert names(as_told(None, observed(order))) == ["Pending", "Running", "Completed"]


def test_a_task_that_is_rolled_back_ends_so(story):
    entry = one_by_one(story("Pending", "Running", "Completed", "RolledBack"))
    assert names(entry) == ["Pending", "Running", "Completed", "RolledBack"]
    assert entry.progress.name == "RolledBack"


def test_what_is_kept_of_policy_and_details(story):
    frames = story("Pending", "Running", "AwaitingRetry", retries=2, retry_delay=[1, 2])
    frames[-1]["payload"]["validated_state"]["state_details"] = {"scheduled_time": "2026-11-22T07:28:55.335924Z", "odd": 1}
    entry = as_told(None, observed(frames))
    assert json.loads(entry.policy) == {"retries": 2, "retry_delay": [1.0, 2.0]}
    assert entry.details.scheduled_time.isoformat() == "2026-11-22T07:28:55.335924+00:00"
    assert as_told(None, observed(story("Pending"))).policy is None


def test_what_its_client_says_of_a_result_is_kept_for_it(story):
    frames = story("Pending", "Running", "Completed")
    where = {"storage_key": "/tmp/there", "serializer": {"type": "pickle"}}
    frames[2]["payload"]["validated_state"]["data"] = where
    for order in itertools.permutations(frames):
        kept = one_by_one(order).result
        assert (kept.serializer, json.loads(kept.inline)) == (FOREIGN, where)
    assert one_by_one(story("Completed")).result is None


def test_a_task_run_outside_a_flow_has_none(story):
    [frame] = story("Pending")
    frame["related"] = []
    assert as_told(None, observed([frame])).flow_run_id is None


def test_other_events_tell_nothing_of_task_runs(story):
    [frame] = story("Pending")
    del frame["resource"]["prefect.orchestration"]
    assert observation(read_event(json.dumps(frame))) is None
    frame["event"] = "my.event"
    assert observation(read_event(json.dumps(frame))) is None


def broken(frame, *path, value):
    place = frame
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return frame


@pytest.mark.parametrize("frame", ["", "{", "[]", "null", "{}", '"event"', '{"event": 1}', b"\xff"])
def test_what_is_no_event_is_malformed(frame):
    with pytest.raises(MalformedFrame):
        read_event(frame)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("id",), "no-id"),
        (("occurred",), "yesterday"),
        (("occurred",), "2026-11-22T07:28:55"),
        (("resource",), {}),
        (("resource", RESOURCE_ID), "prefect.task-run.no-id"),
        (("resource", "prefect.state-timestamp"), "soon"),
        (("related", 0, RESOURCE_ID), "prefect.flow-run.no-id"),
        (("payload",), {}),
        (("payload", "validated_state", "type"), "DONE"),
        (("payload", "task_run", "run_count"), "many"),
        (("payload", "task_run", "tags"), [1]),
        (("payload", "task_run", "task_inputs"), {"x": 1}),
        (("payload", "task_run", "empirical_policy"), {"retries": "some"}),
        (("payload", "task_run", "total_run_time"), 1e400),
    ],
)
def test_what_cannot_be_is_malformed(story, path, value):
    [frame] = story("Running")
    with pytest.raises(MalformedFrame):
        observation(read_event(json.dumps(broken(frame, *path, value=value))))


def test_ids_are_known_however_they_are_written(story):
    [frame] = story("Running")
    run_id = new_id()
    frame["resource"][RESOURCE_ID] = f"prefect.task-run.{run_id.upper().replace('-', '')}"
    assert observed([frame])[0].id == run_id


def test_times_are_exact(story):
    [frame] = story("Running")
    frame["resource"]["prefect.state-timestamp"] = "2026-11-22T07:28:55.335924+02:00"
    [told] = observed([frame])
    assert clock.to_datetime(told.step[3]).isoformat() == "2026-11-22T05:28:55.335924+00:00"
