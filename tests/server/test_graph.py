"""What a flow run consists of, as a page draws it."""

import pytest

NOBODY = "01920000-0000-7000-8000-000000000001"
NODE = {
    "kind",
    "id",
    "label",
    "state_type",
    "start_time",
    "end_time",
    "parents",
    "children",
    "encapsulating",
    "artifacts",
}


@pytest.fixture
def flow(served):
    return served.post("flows/", {"name": "my-flow"})["id"]


@pytest.fixture
def flow_run(served, flow):
    return served.post("flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING"}})["id"]


@pytest.fixture
def make(served, flow_run):
    """Makes a task run with these inputs; gives its id."""
    made = []

    def make(type="RUNNING", **inputs):
        sources = {name: [{"input_type": "task_run", "id": run} for run in runs] for name, runs in inputs.items()}
        made.append(type)
        body = {
            "flow_run_id": flow_run,
            "name": f"step-{len(made)}",
            "task_key": "t",
            "dynamic_key": str(len(made)),
            "state": {"type": type},
            "task_inputs": sources,
        }
        return served.post("task_runs/", body, code=201)["id"]

    return make


def test_what_follows_from_what(served, flow_run, make):
    first = make("COMPLETED")
    second = make(x=[first], y=[first])
    third = make(x=[first, second], __parents__=[second])
    make("PENDING", x=[third])
    graph = served.get(f"flow_runs/{flow_run}/graph-v2")
    assert set(graph) == {"start_time", "end_time", "root_node_ids", "nodes", "artifacts", "states"}
    assert (graph["root_node_ids"], graph["end_time"]) == ([first], None)
    assert [id for id, _ in graph["nodes"]] == [first, second, third]
    nodes = dict(graph["nodes"])
    assert set(nodes[first]) == NODE
    assert (nodes[first]["kind"], nodes[first]["label"], nodes[first]["parents"]) == ("task-run", "step-1", [])
    assert nodes[first]["children"] == [{"id": second}, {"id": third}]
    assert nodes[second]["parents"] == [{"id": first}]
    assert nodes[third]["parents"] == [{"id": first}, {"id": second}]
    assert nodes[third]["encapsulating"] == [{"id": second}]
    assert [(state["type"], state["name"]) for state in graph["states"]] == [("RUNNING", "Running")]


def test_a_subflow_run_stands_where_its_task_run_stood(served, flow, flow_run, make):
    first, stands = make("COMPLETED"), make()
    after = make(x=[stands])
    child = served.post("flow_runs/", {"flow_id": flow, "name": "child", "parent_task_run_id": stands})["id"]
    served.post(f"flow_runs/{child}/set_state", {"state": {"type": "RUNNING"}})
    nodes = dict(served.get(f"flow_runs/{flow_run}/graph-v2")["nodes"])
    assert set(nodes) == {first, child, after}
    assert (nodes[child]["kind"], nodes[child]["label"]) == ("flow-run", "my-flow / child")
    assert nodes[child]["children"] == [{"id": after}]
    assert nodes[after]["parents"] == [{"id": child}]


def test_only_what_has_changed_since(served, flow_run, make):
    make("COMPLETED")
    going_on = make()
    later = served.get(f"task_runs/{going_on}")["start_time"]
    graph = served.get(f"flow_runs/{flow_run}/graph-v2", since=later)
    assert [id for id, _ in graph["nodes"]] == [going_on]
    served.get(f"flow_runs/{flow_run}/graph-v2", since="yesterday", code=422)


def test_artifacts_stand_at_what_made_them(served, flow_run, make):
    task_run = make()
    for body in ({"key": "k", "task_run_id": task_run}, {"key": "k", "type": "progress", "data": 5.0}):
        served.post("artifacts/", {"flow_run_id": flow_run, **body})
    graph = served.get(f"flow_runs/{flow_run}/graph-v2")
    (own,) = graph["artifacts"]
    assert (own["key"], own["type"], own["data"], own["is_latest"]) == ("k", "progress", 5.0, True)
    (made,) = dict(graph["nodes"])[task_run]["artifacts"]
    assert (made["key"], made["data"], made["is_latest"]) == ("k", None, False)


def test_the_older_graph_lists_task_runs_with_what_they_were_given(served, flow_run, make):
    first = make("COMPLETED")
    second = make(x=[first], y=[first])
    runs = served.get(f"flow_runs/{flow_run}/graph")
    assert [run["id"] for run in runs] == [first, second]
    assert runs[1]["upstream_dependencies"] == [{"id": first, "input_type": "task_run"}]
    assert (runs[0]["state"]["type"], runs[0]["untrackable_result"]) == ("COMPLETED", False)


def test_what_is_not_there(served):
    served.get(f"flow_runs/{NOBODY}/graph-v2", code=404)
    served.get(f"flow_runs/{NOBODY}/graph", code=404)
