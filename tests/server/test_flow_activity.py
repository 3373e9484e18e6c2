"""Flows at a glance, and where runs come from, over the API."""

import pytest

from tidemill import flow, task
from tidemill.caching import INPUTS

NOBODY = "01920000-0000-7000-8000-000000000001"


@pytest.fixture
def runs(served):
    """Two runs of a flow whose second uses what the first has kept, and which calls another; gives all runs by name."""

    @task(cache_policy=INPUTS)
    def double(number):
        return 2 * number

    @flow(flow_run_name="child-{number}", tags=["inner"])
    def child_flow(number):
        return double(number)

    @flow(flow_run_name="parent-{number}")
    def parent_flow(number):
        return child_flow(number)

    parent_flow(1), parent_flow(2), child_flow(1)
    return {run["name"]: run for run in served.post("flow_runs/filter")}


def test_how_the_runs_of_flows_went(served, runs):
    found = served.post("ui/flows/activity")
    assert (found["total"], [each["name"] for each in found["flows"]]) == (2, ["child-flow", "parent-flow"])
    child = found["flows"][0]
    assert (child["runs"], child["by_state"], child["success_rate"]) == (3, {"COMPLETED": 3}, 1.0)
    assert 0 < child["mean_seconds"] <= 3 * child["p95_seconds"]
    assert len(child["last_runs"]) == 3
    newest = child["last_runs"][-1]
    assert set(newest) == {"id", "name", "state_type", "state_name", "start_ms", "seconds"}
    assert newest["start_ms"] >= child["last_runs"][0]["start_ms"]


def test_some_flows(served, runs):
    def named(body):
        return [each["name"] for each in served.post("ui/flows/activity", body)["flows"]]

    parent = runs["parent-1"]["flow_id"]
    assert named({"flow_ids": [parent]}) == ["parent-flow"]
    assert named({"name_like": "CHILD"}) == ["child-flow"]
    assert named({"sort": "last_run", "limit": 1}) == ["child-flow"]
    assert named({"offset": 1}) == ["parent-flow"]
    late = served.post("ui/flows/activity", {"since": "2090-01-01T00:00:00Z", "last": 0})
    assert [(each["runs"], each["success_rate"], each["last_runs"]) for each in late["flows"]] == [(0, None, [])] * 2
    for wrong in ({"limit": 201}, {"sort": "colour"}, {"last": 101}, {"flow_ids": ["x"]}, {"colour": 1}):
        served.post("ui/flows/activity", wrong, code=422)


def test_the_grid_of_a_flow(served, runs):
    parent = runs["parent-1"]["flow_id"]
    grid = served.get(f"ui/flows/{parent}/grid")
    assert [run["name"] for run in grid["runs"]] == ["parent-1", "parent-2"]
    (called,) = grid["tasks"]
    assert called["name"] == "child-flow"
    assert [(cell["state_type"], cell["total"]) for cell in called["cells"]] == [("COMPLETED", 1)] * 2
    assert called["cells"][1]["task_run_id"] == runs["child-2"]["parent_task_run_id"]
    assert len(served.get(f"ui/flows/{parent}/grid", last=1)["runs"]) == 1
    served.get(f"ui/flows/{parent}/grid", last=101, code=422)
    served.get(f"ui/flows/{NOBODY}/grid", code=404)


def test_the_flow_runs_around_one(served, runs):
    parent = runs["parent-2"]
    around = served.get(f"ui/flow_runs/{runs['child-2']['id']}/ancestors")
    assert around == [{"id": parent["id"], "name": "parent-2", "flow_name": "parent-flow"}]
    assert served.get(f"ui/flow_runs/{parent['id']}/ancestors") == []
    served.get(f"ui/flow_runs/{NOBODY}/ancestors", code=404)


def test_why_a_task_run_used_an_earlier_result(served, runs):
    doubles = [run for run in served.post("task_runs/filter", {"sort": "EXPECTED_START_TIME_ASC"}) if "double" in run["name"]]
    first, second, third = [served.get(f"ui/task_runs/{run['id']}/why") for run in doubles]
    assert (first["hit"], first["found_in"], first["reason"]) == (False, None, "It missed: no earlier run has its key.")
    assert {part["differs"] for part in first["parts"]} == {None}
    assert "input 'number'" in second["reason"]
    assert {part["name"]: part["differs"] for part in second["parts"]}["input 'number'"] is True
    assert (third["hit"], third["cache_key"]) == (True, first["cache_key"])
    assert third["found_in"] == {
        "task_run_id": doubles[0]["id"],
        "name": doubles[0]["name"],
        "flow_run_id": doubles[0]["flow_run_id"],
    }
    assert {part["differs"] for part in third["parts"]} == {False}
    served.get(f"ui/task_runs/{NOBODY}/why", code=404)


def test_a_task_run_outside_a_flow_whose_result_was_used(served):
    @task(cache_policy=INPUTS)
    def half(number):
        return number / 2

    half(4), half(4)
    first, second = served.post("task_runs/filter", {"sort": "EXPECTED_START_TIME_ASC"})
    found = served.get(f"ui/task_runs/{second['id']}/why")["found_in"]
    assert found == {"task_run_id": first["id"], "name": first["name"], "flow_run_id": None}
