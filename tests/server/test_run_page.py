"""What the page of a flow run asks for, over the API, of runs of real flows."""

import pytest

from tidemill import flow, task

NOBODY = "01920000-0000-7000-8000-000000000001"


@pytest.fixture
def failed(served):
    """The ids of a flow run whose subflow failed in its second task, and which was tried twice; and of the subflow run."""

    @task
    def load():
        return 1

    @task
    def check(value):
        raise ValueError("bad day")

    @flow
    def inner():
        return check(load())

    @flow(retries=1)
    def outer():
        return inner()

    with pytest.raises(ValueError, match="bad day"):
        outer()
    runs = {run["flow_name"]: run["id"] for run in served.post("flow_runs/filter")}
    return runs["outer"], runs["inner"]


def test_why_it_failed(served, failed, flow_run):
    _, inner = failed
    (check,) = [run for run in served.post("task_runs/filter") if run["name"].startswith("check")]
    for run in failed:
        failure = served.get(f"ui/flow_runs/{run}/failure")
        traceback = failure.pop("traceback")
        assert failure == {
            "type": "builtins.ValueError",
            "message": "bad day",
            "task_run_id": check["id"],
            "task_run_name": check["name"],
            "flow_run_id": inner,
        }
        assert traceback.startswith("Traceback")
        assert traceback.endswith("ValueError: bad day")
    assert served.get(f"ui/flow_runs/{flow_run}/failure") is None
    served.get(f"ui/flow_runs/{NOBODY}/failure", code=404)


def test_what_its_attempts_did(served, failed, flow_run):
    first, second = served.get(f"ui/flow_runs/{failed[1]}/attempts")
    assert first.pop("began_ms") <= first.pop("ended_ms") <= second.pop("began_ms") <= second.pop("ended_ms")
    ended = {"type": "FAILED", "name": "Failed", "message": "Flow run encountered an exception."}
    assert first == {"attempt": 1, **ended, "executed": 2, "reused": 0, "counts": {"COMPLETED": 1, "FAILED": 1}}
    assert second == {"attempt": 2, **ended, "executed": 1, "reused": 1, "counts": {"FAILED": 1}}
    outer = served.get(f"ui/flow_runs/{failed[0]}/attempts")
    assert [(attempt["name"], attempt["executed"], attempt["counts"]) for attempt in outer] == [
        ("AwaitingRetry", 1, {"FAILED": 1}),
        ("Failed", 1, {"FAILED": 1}),
    ]
    assert served.get(f"ui/flow_runs/{flow_run}/attempts") == []
    served.get(f"ui/flow_runs/{NOBODY}/attempts", code=404)


def test_what_it_logged(served, failed):
    outer, inner = failed
    every = served.get(f"ui/flow_runs/{outer}/lines", include_subflows=True)
    assert set(every) == {
        *("seq", "level", "at_ms", "message", "logger", "flow_run", "task_run"),
        *("flow_runs", "task_runs", "more", "total"),
    }
    assert (every["more"], every["total"]) == (False, len(every["seq"]))
    assert {run["id"] for run in every["flow_runs"]} == {outer, inner}
    errors = [n for n, message in enumerate(every["message"]) if "ValueError: bad day" in message]
    tasks = [every["task_run"][n] for n in errors]
    assert any(place is not None and every["task_runs"][place]["name"].startswith("check") for place in tasks)
    own = served.get(f"ui/flow_runs/{outer}/lines", limit=1)
    assert (own["more"], len(own["seq"]), own["total"] < every["total"]) == (True, 1, True)
    newest = served.get(f"ui/flow_runs/{outer}/lines", before=2**53 - 1, limit=1)
    assert newest["seq"][0] > own["seq"][0]
    assert served.get(f"ui/flow_runs/{outer}/lines", after=newest["seq"][0])["seq"] == []
    logs = served.post("logs/filter", {"logs": {"flow_run_id": {"any_": [outer]}}, "limit": 1})
    assert logs[0]["seq"] == own["seq"][0]
    served.get(f"ui/flow_runs/{outer}/lines", limit=10_001, code=422)
    served.get(f"ui/flow_runs/{outer}/lines", after=2**62 + 1, code=422)
    served.get(f"ui/flow_runs/{NOBODY}/lines", code=404)
