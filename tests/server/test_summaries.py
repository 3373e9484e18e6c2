"""Runs summed up, over the API."""

import pytest


@pytest.fixture
def make(served):
    """Makes a flow run that is expected at a second of the first minute of 2031; gives its id."""
    flow = served.post("flows/", {"name": "my-flow"})["id"]

    def make(second, **body):
        details = {"scheduled_time": f"2031-01-01T00:00:{second:02}Z"}
        state = {"type": "SCHEDULED", "state_details": details}
        return served.post("flow_runs/", {"flow_id": flow, "state": state, **body})["id"]

    return make


@pytest.fixture
def make_task_run(served, make):
    flow_run = make(0)
    made = []

    def make_task_run(type, **body):
        made.append(type)
        body = {"task_key": "t", "dynamic_key": str(len(made)), "flow_run_id": flow_run, "state": {"type": type}, **body}
        return served.post("task_runs/", body)["id"]

    return make_task_run


MINUTE = {"history_start": "2031-01-01T00:00:00Z", "history_end": "2031-01-01T00:01:00Z", "history_interval_seconds": 20}


def test_flow_runs_by_time_and_state(served, make):
    make(0), make(19), make(20, tags=["a"])
    history = served.post("flow_runs/history", MINUTE)
    assert [span["interval_start"] for span in history] == [f"2031-01-01T00:00:{n:02}Z" for n in (0, 20, 40)]
    assert history[2] == {"interval_start": "2031-01-01T00:00:40Z", "interval_end": "2031-01-01T00:01:00Z", "states": []}
    (state,) = history[0]["states"]
    assert state == {
        "state_type": "SCHEDULED",
        "state_name": "Scheduled",
        "count_runs": 2,
        "sum_estimated_run_time": 0.0,
        "sum_estimated_lateness": 0.0,
    }
    some = served.post("flow_runs/history", {**MINUTE, "flow_runs": {"tags": {"all_": ["a"]}}})
    assert [len(span["states"]) for span in some] == [0, 1, 0]


def test_a_history_has_a_limit(served):
    long = {**MINUTE, "history_end": "2039-01-01T00:00:00Z", "history_interval_seconds": 1}
    assert len(served.post("flow_runs/history", long)) == 500
    served.post("flow_runs/history", {**MINUTE, "history_interval_seconds": 0.5}, code=422)
    served.post("flow_runs/history", {}, code=422)
    assert served.post("flow_runs/history", {**MINUTE, "history_end": "2030-01-01T00:00:00Z"}) == []


def test_task_runs_by_time_and_state(served, make_task_run):
    created = served.get(f"task_runs/{make_task_run('COMPLETED')}")["created"]
    make_task_run("RUNNING")
    span = {"history_start": created, "history_end": "2039-01-01T00:00:00Z", "history_interval_seconds": 10**8}
    history = served.post("task_runs/history", span)
    assert {state["state_name"]: state["count_runs"] for state in history[0]["states"]} == {"Completed": 1, "Running": 1}


def test_how_late_runs_begin(served, make):
    assert served.post("flow_runs/lateness") is None
    make(0)
    assert served.post("flow_runs/lateness") == 0.0
    late = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2024-01-01T00:00:00Z"}}
    make(0, state=late)
    assert served.post("flow_runs/lateness") > 10**7


def test_flow_runs_as_dots(served, make):
    first, second = make(1), make(2)
    dots = served.post("ui/flow_runs/history")
    assert [dot["id"] for dot in dots] == [second, first]
    assert dots[0] == {
        "id": second,
        "state_type": "SCHEDULED",
        "timestamp": "2031-01-01T00:00:02Z",
        "duration": 0.0,
        "lateness": 0.0,
    }
    served.post("ui/flow_runs/history", {"limit": 1001}, code=422)


def test_task_runs_of_flow_runs(served, make, make_task_run):
    task_run = make_task_run("RUNNING")
    make_task_run("COMPLETED")
    flow_run = served.get(f"task_runs/{task_run}")["flow_run_id"]
    other = make(1, parent_task_run_id=task_run)
    counts = served.post("ui/flow_runs/count-task-runs", {"flow_run_ids": [flow_run, other]})
    assert counts == {flow_run: 1, other: 0}
    assert served.post("ui/flow_runs/count-task-runs", {"flow_run_ids": []}) == {}
    served.post("ui/flow_runs/count-task-runs", {"flow_run_ids": [flow_run] * 201}, code=422)


def test_task_runs_by_state(served, make_task_run):
    for type in ("COMPLETED", "COMPLETED", "FAILED"):
        make_task_run(type)
    counts = served.post("ui/task_runs/count")
    assert (counts["COMPLETED"], counts["FAILED"], counts["RUNNING"], len(counts)) == (2, 1, 0, 9)


def test_task_runs_of_the_dashboard(served, make_task_run):
    run = make_task_run("RUNNING")
    start = served.get(f"task_runs/{run}")["start_time"]
    served.post(f"task_runs/{run}/set_state", {"state": {"type": "FAILED"}, "force": True})
    counts = served.post("ui/task_runs/dashboard/counts", {"task_runs": {"start_time": {"after_": start}}})
    assert len(counts) == 20
    assert sum(count["failed"] for count in counts) == 1
    served.post("ui/task_runs/dashboard/counts", {"task_runs": {}}, code=422)


def test_a_task_run_with_the_name_of_its_flow_run(served, make, make_task_run):
    run = served.get(f"task_runs/{make_task_run('PENDING')}")
    told = served.get(f"ui/task_runs/{run['id']}")
    assert told.pop("flow_run_name") == served.get(f"flow_runs/{run['flow_run_id']}")["name"]
    assert set(told) == set(run)
