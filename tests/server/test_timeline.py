"""The timeline of a flow run, over the API."""

import pytest

NOBODY = "01920000-0000-7000-8000-000000000001"


@pytest.fixture
def make(served, flow_run):
    """Makes a task run of a task, in this state; gives its id."""
    made = []

    def make(task, type="COMPLETED", **inputs):
        made.append(task)
        body = {
            "flow_run_id": flow_run,
            "name": f"{task}-{len(made)}",
            "task_key": f"{task}-e09864e0",
            "dynamic_key": str(len(made)),
            "state": {"type": type},
            "task_inputs": {name: [{"input_type": "task_run", "id": run} for run in runs] for name, runs in inputs.items()},
        }
        return served.post("task_runs/", body, code=201)["id"]

    return make


def test_what_is_drawn(served, flow_run, make):
    first = make("load")
    second = make("store", "RUNNING", x=[first], __parents__=[first])
    timeline = served.get(f"ui/flow_runs/{flow_run}/timeline")
    assert set(timeline) == {"total", "grouped", "states", "tasks", "nodes"}
    assert (timeline["total"], timeline["grouped"]) == (2, False)
    (state,) = timeline["states"]
    assert state.pop("at_ms") > 10**12
    assert state == {"type": "PENDING", "name": "Pending", "message": None}
    nodes = timeline["nodes"]
    assert set(nodes["id"]) == {first, second}
    assert {len(column) for column in nodes.values()} == {2}
    assert nodes["parents"][nodes["id"].index(second)] == nodes["callers"][nodes["id"].index(second)] == [0]
    assert [task["name"] for task in timeline["tasks"]] == ["load", "store"]
    assert timeline["tasks"][1]["counts"] == {"RUNNING": 1}
    assert timeline["tasks"][1]["activity"] is None


def test_one_task(served, flow_run, make):
    runs = [make("load") for _ in range(3)]
    make("store")
    page = served.get(f"ui/flow_runs/{flow_run}/timeline", task_key="load-e09864e0", offset=1, limit=1)
    assert (page["total"], len(page["tasks"])) == (4, 2)
    assert page["nodes"]["id"] == runs[1:2]
    served.get(f"ui/flow_runs/{flow_run}/timeline", limit=10_001, code=422)
    served.get(f"ui/flow_runs/{flow_run}/timeline", offset=-1, code=422)


def test_states_of_task_runs_of_many_flow_runs(served, flow_run, make):
    make("load"), make("load", "FAILED"), make("load", "FAILED")
    counts = served.post("ui/flow_runs/task_run_counts", {"flow_run_ids": [flow_run, NOBODY]})
    assert counts == {flow_run: {"COMPLETED": 1, "FAILED": 2}, NOBODY: {}}
    served.post("ui/flow_runs/task_run_counts", {"flow_run_ids": [NOBODY] * 201}, code=422)


def test_what_is_not_there(served):
    served.get(f"ui/flow_runs/{NOBODY}/timeline", code=404)
    served.get("ui/flow_runs/nobody/timeline", code=422)
