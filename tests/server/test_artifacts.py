"""Artifacts over the API."""

import pytest

from tidemill import ids, orchestration
from tidemill.records import NewFlowRun
from tidemill.states import Pending

UNKNOWN = "01a20228-08a1-71b7-83e3-616c46d61474"


@pytest.fixture
def flow_run(served):
    """The id of a flow run, which is pending."""
    run = NewFlowRun(id=ids.new_id(), name="adept-capuchin", flow_name="etl", tags=["nightly"])
    return orchestration.create_flow_run(served.store, run, [Pending()], None).flow_run_id


@pytest.fixture
def made(served, flow_run):
    """Two artifacts of one key, one of another, and one without."""
    bodies = [
        {"key": "report", "type": "markdown", "data": "# one", "description": "first", "flow_run_id": flow_run},
        {"key": "rows", "type": "table", "data": [{"a": 1}]},
        {"key": "report", "type": "markdown", "data": "# two", "metadata_": {"by": "x"}, "task_run_id": UNKNOWN},
        {"type": "table"},
    ]
    return [served.post("artifacts/", body, code=201) for body in bodies]


def places(made, found):
    """Which of those made are found, by their number."""
    numbers = {each["id"]: number for number, each in enumerate(made)}
    return [numbers[each["id"]] for each in found]


def test_an_artifact_has_the_shape_of_the_api(served, made, flow_run):
    assert made[0] == {
        **{"id": made[0]["id"], "key": "report", "type": "markdown", "description": "first", "data": "# one"},
        **{"metadata_": None, "flow_run_id": flow_run, "task_run_id": None},
        **{"created": made[0]["created"], "updated": made[0]["created"]},
    }
    assert served.get(f"artifacts/{made[0]['id']}") == made[0]
    assert served.post("artifacts/", {}, code=201)["key"] is None


@pytest.mark.parametrize(
    "body", [{"key": "A"}, {"key": "a_b"}, {"key": ""}, {"metadata_": {"a": 1}}, {"colour": 1}, {"flow_run_id": "x"}]
)
def test_a_wrong_artifact_is_refused(served, body):
    served.post("artifacts/", body, code=422)
    assert served.post("artifacts/count") == 0


def test_the_flow_run_must_be_there(served):
    assert UNKNOWN in served.post("artifacts/", {"flow_run_id": UNKNOWN}, code=404)["detail"]


def test_an_artifact_goes_with_its_flow_run(served, made, flow_run):
    orchestration.delete_flow_run(served.store, flow_run)
    served.get(f"artifacts/{made[0]['id']}", code=404)
    assert served.post("artifacts/count") == 3


@pytest.mark.parametrize("data", [None, 0, 5.5, "text", [1, [2]], {"a": {"b": None}}])
def test_a_change_replaces_what_it_names(served, made, data):
    path = f"artifacts/{made[0]['id']}"
    served.answer("PATCH", path, 204, json={"data": data})
    after = served.get(path)
    assert (after["data"], after["description"], after["key"]) == (data, "first", "report")
    assert after["updated"] != after["created"]
    served.answer("PATCH", path, 204, json={"description": None, "metadata_": {"n": "1"}})
    assert served.get(path) == {**after, "description": None, "metadata_": {"n": "1"}, "updated": served.get(path)["updated"]}


def test_what_cannot_be_changed(served, made):
    served.answer("PATCH", f"artifacts/{made[0]['id']}", 422, json={"key": "other"})
    served.answer("PATCH", f"artifacts/{UNKNOWN}", 404, json={"data": 1})


def test_a_deleted_artifact_is_gone(served, made):
    path = f"artifacts/{made[2]['id']}"
    served.answer("DELETE", path, 204)
    served.answer("DELETE", path, 404)
    served.get(path, code=404)
    assert served.get("artifacts/report/latest") == made[0], "the one before is the latest again"


def test_the_latest_of_a_key(served, made):
    assert served.get("artifacts/report/latest") == made[2]
    assert "nothing" in served.get("artifacts/nothing/latest", code=404)["detail"]


def test_the_latest_of_every_key(served, made):
    rows, report = served.post("artifacts/latest/filter", {"sort": "KEY_DESC"})
    assert report == {**made[2], "id": report["id"], "latest_id": made[2]["id"]}
    assert rows["latest_id"] == made[1]["id"]
    assert rows["id"] != report["id"]
    assert served.post("artifacts/latest/count") == 2
    served.post("artifacts/", {"key": "report"}, code=201)
    assert served.post("artifacts/latest/filter", {"sort": "KEY_ASC"})[0]["id"] == report["id"], "a key keeps its id"


def test_the_latest_of_a_key_is_found_only_by_what_it_is_itself(served, made, flow_run):
    of_run = {"artifacts": {"flow_run_id": {"any_": [flow_run]}}}
    assert served.post("artifacts/latest/filter", of_run) == [], "that run's report is not the latest"
    chosen = {"artifacts": {"latest_id": {"any_": [made[0]["id"], made[2]["id"]]}}}
    assert [each["latest_id"] for each in served.post("artifacts/latest/filter", chosen)] == [made[2]["id"]]
    assert served.post("artifacts/latest/count", {"artifacts": {"type": {"any_": ["table"]}}}) == 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, [3, 2, 1, 0]),
        ({"artifacts": {"key": {"any_": ["report"]}}}, [2, 0]),
        ({"artifacts": {"key": {"like_": "REP%"}}}, [2, 0]),
        ({"artifacts": {"key": {"exists_": False}}}, [3]),
        ({"artifacts": {"key": {"exists_": True}, "type": {"not_any_": ["markdown"]}}}, [1]),
        ({"artifacts": {"type": {"any_": ["table"]}}}, [3, 1]),
        ({"artifacts": {"operator": "or_", "type": {"any_": ["table"]}, "key": {"like_": "report"}}}, [3, 2, 1, 0]),
        ({"artifacts": {"task_run_id": {"any_": [UNKNOWN]}}}, [2]),
        ({"flows": {"name": {"any_": ["etl"]}}}, [0]),
        ({"flow_runs": {"tags": {"all_": ["nightly"]}}}, [0]),
        ({"flow_runs": {"tags": {"all_": ["weekly"]}}}, []),
        ({"task_runs": {"name": {"like_": "a"}}}, []),
        ({"sort": "KEY_ASC"}, [3, 2, 0, 1]),
        ({"sort": "KEY_DESC"}, [1, 2, 0, 3]),
        ({"sort": "CREATED_DESC", "limit": 2, "offset": 1}, [2, 1]),
    ],
)
def test_a_filter(served, made, body, expected):
    assert places(made, served.post("artifacts/filter", body)) == expected
    if "limit" not in body:
        assert served.post("artifacts/count", body) == len(expected)


def test_a_change_brings_an_artifact_to_the_top_of_the_changed(served, made):
    served.answer("PATCH", f"artifacts/{made[1]['id']}", 204, json={"data": []})
    assert places(made, served.post("artifacts/filter", {"sort": "UPDATED_DESC", "limit": 1})) == [1]


def test_the_clients_of_the_field_send_null_for_what_they_do_not_name(served, made):
    body = {"artifacts": None, "flow_runs": None, "sort": None, "limit": 1, "offset": None}
    assert places(made, served.post("artifacts/filter", body)) == [3]
    assert len(served.post("artifacts/latest/filter", body)) == 1


def test_wrong_filters_are_refused(served):
    for wrong in ({"limit": 201}, {"sort": "SIZE"}, {"artifacts": {"size": 1}}, {"artifacts": {"id": {"any_": ["x"]}}}):
        served.post("artifacts/filter", wrong, code=422)
        served.post("artifacts/latest/filter", wrong, code=422)
