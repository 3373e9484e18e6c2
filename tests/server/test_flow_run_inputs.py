"""Inputs of flow runs over the API."""

import pytest

from tidemill import ids, orchestration
from tidemill.records import NewFlowRun
from tidemill.states import Pending

UNKNOWN = "01a20228-08a1-71b7-83e3-616c46d61474"


@pytest.fixture
def path(served):
    """Where the inputs of a flow run are."""
    run = NewFlowRun(id=ids.new_id(), name="adept-capuchin", flow_name="etl")
    return f"flow_runs/{orchestration.create_flow_run(served.store, run, [Pending()], None).flow_run_id}/input"


def keys(found):
    return [each["key"] for each in found]


@pytest.mark.parametrize("value", ['{"a": 1}', "not json", "", "é\n", '"quoted"', "null"])
def test_an_input_is_read_as_the_text_that_it_is(served, path, value):
    assert served.post(path, {"key": "paused-1-response", "value": value}, code=201) is None
    response = served.api.get(f"{path}/paused-1-response")
    assert (response.status_code, response.text) == (200, value)


def test_an_input_never_changes(served, path):
    served.post(path, {"key": "k", "value": "1"}, code=201)
    assert "'k'" in served.post(path, {"key": "k", "value": "2"}, code=409)["detail"]
    assert served.api.get(f"{path}/k").text == "1"


def test_what_is_not_there_is_not_found(served, path):
    nowhere = f"flow_runs/{UNKNOWN}/input"
    assert UNKNOWN in served.post(nowhere, {"key": "k", "value": "1"}, code=404)["detail"]
    served.get(f"{path}/k", code=404)
    served.get(f"{nowhere}/k", code=404)
    served.answer("DELETE", f"{path}/k", 404)
    assert served.post(f"{nowhere}/filter", {"prefix": ""}) == []


@pytest.mark.parametrize(
    "body", [{"key": "k"}, {"value": "1"}, {"key": "", "value": "1"}, {"key": "a b", "value": "1"}, {"key": "k", "value": {}}]
)
def test_a_wrong_input_is_refused(served, path, body):
    served.post(path, body, code=422)


def test_inputs_are_found_by_how_their_keys_begin(served, path):
    for key in ("b-2", "a-1", "b-1", "B-3", "b_4"):
        served.post(path, {"key": key, "value": key, "sender": "me"}, code=201)
    assert keys(served.post(f"{path}/filter", {"prefix": "b-"})) == ["b-2"], "one, if nothing is said"
    assert keys(served.post(f"{path}/filter", {"prefix": "b-", "limit": 10})) == ["b-2", "b-1"]
    assert keys(served.post(f"{path}/filter", {"prefix": "", "limit": 10, "exclude_keys": ["b-2", "a-1"]})) == [
        "b-1",
        "B-3",
        "b_4",
    ]
    assert served.post(f"{path}/filter", {"prefix": "%", "limit": 10}) == []
    served.post(f"{path}/filter", {}, code=422)
    served.post(f"{path}/filter", {"prefix": "", "limit": 201}, code=422)


def test_an_input_has_the_shape_of_the_api(served, path):
    served.post(path, {"key": "k", "value": "1", "sender": "me"}, code=201)
    [found] = served.post(f"{path}/filter", {"prefix": "k"})
    assert list(found) == ["id", "flow_run_id", "key", "value", "sender", "created", "updated"]
    assert (found["flow_run_id"], found["key"], found["value"], found["sender"]) == (path.split("/")[1], "k", "1", "me")


def test_inputs_of_one_flow_run_are_not_those_of_another(served, path):
    other = orchestration.create_flow_run(
        served.store, NewFlowRun(id=ids.new_id(), name="other", flow_name="etl"), [Pending()], None
    ).flow_run_id
    served.post(path, {"key": "k", "value": "1"}, code=201)
    served.post(f"flow_runs/{other}/input", {"key": "k", "value": "2"}, code=201)
    served.answer("DELETE", f"{path}/k", 204)
    assert served.api.get(f"flow_runs/{other}/input/k").text == "2"
    orchestration.delete_flow_run(served.store, other)
    served.get(f"flow_runs/{other}/input/k", code=404)
