"""Saved searches over the API."""

UNKNOWN = "01a20228-08a1-71b7-83e3-616c46d61474"
CONDITION = {"object": "flow", "property": "name", "type": "string", "operation": "equals", "value": {"any": [1, None]}}


def keep(served, code, **body):
    return served.answer("PUT", "saved_searches/", code, json=body)


def test_a_search_is_kept_and_replaced_under_its_name(served):
    first = keep(served, 201, name="mine", filters=[CONDITION])
    assert list(first) == ["id", "name", "filters", "created", "updated"]
    assert first["filters"] == [CONDITION]
    again = keep(served, 200, name="mine", filters=[])
    assert (again["id"], again["created"], again["filters"]) == (first["id"], first["created"], [])
    assert again["updated"] != first["updated"]
    assert served.get(f"saved_searches/{first['id']}") == again


def test_searches_are_listed_by_name_in_pages(served):
    for name in ("c", "a", "b"):
        keep(served, 201, name=name)
    found = served.post("saved_searches/filter")
    assert [each["name"] for each in found] == ["a", "b", "c"]
    assert served.post("saved_searches/filter", {"limit": 1, "offset": 1}) == found[1:2]
    served.post("saved_searches/filter", {"limit": 201}, code=422)
    assert served.answer("POST", "saved_searches/filter", 200) == found


def test_a_deleted_search_is_gone(served):
    search = keep(served, 201, name="mine")
    served.answer("DELETE", f"saved_searches/{search['id']}", 204)
    served.answer("DELETE", f"saved_searches/{search['id']}", 404)
    served.get(f"saved_searches/{search['id']}", code=404)
    served.get(f"saved_searches/{UNKNOWN}", code=404)


def test_a_wrong_search_is_refused(served):
    for wrong in ({}, {"name": ""}, {"name": "x", "filters": [{"object": "flow"}]}, {"name": "x", "colour": 1}):
        served.answer("PUT", "saved_searches/", 422, json=wrong)
