"""Flows over the API."""

from tests.server.field_shapes import FLOW


def test_a_flow_is_made_once_and_known_by_its_name(served):
    made = served.post("flows/", {"name": "my-flow", "tags": ["a"], "labels": {"team": "x", "n": 1}}, code=201)
    again = served.post("flows/", {"name": "my-flow", "tags": ["b"]}, code=200)
    assert again == made == served.get(f"flows/{made['id']}") == served.get("flows/name/my-flow")
    assert set(made) == FLOW
    assert (made["tags"], made["labels"]) == (["a"], {"team": "x", "n": 1})


def test_tags_and_labels_are_changed_one_by_one(served):
    flow = served.post("flows/", {"name": "x", "tags": ["a"], "labels": {"k": "v"}})
    assert served.answer("PATCH", f"flows/{flow['id']}", 204, json={"tags": ["b"]}) is None
    read = served.get(f"flows/{flow['id']}")
    assert (read["tags"], read["labels"]) == (["b"], {"k": "v"})
    assert read["updated"] > flow["updated"]


def test_a_flow_goes_with_all_its_runs(served):
    flow = served.post("flows/", {"name": "x"})
    run = served.post("flow_runs/", {"flow_id": flow["id"]})
    assert served.answer("DELETE", f"flows/{flow['id']}", 204) is None
    assert "There is no" in served.get(f"flows/{flow['id']}", code=404)["detail"]
    served.get(f"flow_runs/{run['id']}", code=404)
    served.answer("DELETE", f"flows/{flow['id']}", 404)


def test_what_is_not_there(served):
    nobody = "01920000-0000-7000-8000-000000000001"
    served.get(f"flows/{nobody}", code=404)
    served.get("flows/name/nobody", code=404)
    served.answer("PATCH", f"flows/{nobody}", 404, json={"tags": []})
    served.get("flows/no-id", code=422)


def test_names_that_no_flow_can_have_are_refused(served):
    for name in ("", "a/b", "50%", "a<b", None, 3):
        told = served.post("flows/", {"name": name}, code=422)
        assert told["exception_message"] == "Invalid request received."
    assert "namee" in str(served.post("flows/", {"name": "x", "namee": 1}, code=422)["exception_detail"])


def test_flows_are_listed_counted_and_paged(served):
    for name in "cab":
        served.post("flows/", {"name": name, "tags": [name]})
    assert [flow["name"] for flow in served.post("flows/filter")] == ["a", "b", "c"]
    assert [flow["name"] for flow in served.post("flows/filter", {"sort": "NAME_DESC", "limit": 1, "offset": 1})] == ["b"]
    some = {"flows": {"operator": "or_", "name": {"any_": ["a"]}, "tags": {"all_": ["c"]}}}
    assert [flow["name"] for flow in served.post("flows/filter", some)] == ["a", "c"]
    assert served.post("flows/count", some) == 2
    assert served.post("flows/count") == 3
    page = served.post("flows/paginate", {"limit": 2, "page": 2})
    assert [flow["name"] for flow in page.pop("results")] == ["c"]
    assert page == {"count": 3, "limit": 2, "pages": 2, "page": 2}


def test_flows_are_chosen_by_their_runs(served):
    first, second = (served.post("flows/", {"name": name}) for name in "ab")
    served.post("flow_runs/", {"flow_id": second["id"], "name": "here"})
    assert served.post("flows/filter", {"flow_runs": {"name": {"like_": "HER"}}}) == [second]
    assert served.post("flows/filter", {"flows": {"id": {"not_any_": [second["id"]]}}}) == [first]


def test_no_flow_has_a_deployment_yet(served):
    served.post("flows/", {"name": "a"})
    assert served.post("flows/count", {"flows": {"deployment": {"is_null_": True}}}) == 1
    assert served.post("flows/count", {"flows": {"deployment": {"is_null_": False}}}) == 0
    assert served.post("flows/count", {"deployments": {"name": {"any_": ["x"]}}}) == 0


def test_many_flows_are_removed_at_once(served):
    made = [served.post("flows/", {"name": name}) for name in "abc"]
    assert served.post("flows/bulk_delete", {"limit": 2}) == {"deleted": [flow["id"] for flow in made[:2]]}
    assert [flow["name"] for flow in served.post("flows/filter")] == ["c"]
    served.post("flows/bulk_delete", {"limit": 51}, code=422)
