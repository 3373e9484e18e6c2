"""Variables over the API."""

import pytest

UNKNOWN = "01a20228-08a1-71b7-83e3-616c46d61474"


@pytest.fixture
def made(served):
    """Three variables."""
    return {
        name: served.post("variables/", {"name": name, "value": value, "tags": tags}, code=201)
        for name, value, tags in [
            ("colour", "blue", ["a", "b"]),
            ("limits", {"low": 1, "high": [2.5, None]}, ["a"]),
            ("number_one", 1, []),
        ]
    }


def names(found):
    return [each["name"] for each in found]


def test_a_variable_has_the_shape_of_the_api(served):
    made = served.post("variables/", {"name": "v1", "value": {"a": 1}, "tags": []}, code=201)
    assert list(made) == ["id", "name", "value", "tags", "created", "updated"]
    assert (made["name"], made["value"], made["tags"]) == ("v1", {"a": 1}, [])
    assert made["created"].endswith("Z")
    assert made["created"] == made["updated"]
    assert served.get("variables/name/v1") == served.get(f"variables/{made['id']}") == made


@pytest.mark.parametrize("value", [None, True, 0, 2**70, -1.5, "", "é\u0000", [], [[1]], {}, {"": [None]}])
def test_a_value_is_any_json(served, value):
    served.post("variables/", {"name": "any", "value": value}, code=201)
    assert served.get("variables/name/any")["value"] == value


@pytest.mark.parametrize("name", ["", "Big", "with space", "a.b", "a/b", "é", "line\n", "x" * 256, None, 1])
def test_a_name_is_made_of_small_letters_digits_dashes_and_underscores(served, name):
    served.post("variables/", {"name": name, "value": 1}, code=422)
    assert served.post("variables/count") == 0


def test_a_variable_needs_a_value_and_knows_no_other_field(served):
    served.post("variables/", {"name": "x"}, code=422)
    served.post("variables/", {"name": "x", "value": 1, "colour": "blue"}, code=422)


def test_a_name_is_given_once(served, made):
    told = served.post("variables/", {"name": "colour", "value": "red"}, code=409)
    assert "colour" in told["detail"]
    assert served.get("variables/name/colour")["value"] == "blue"


def test_what_is_not_there_is_not_found(served):
    for path in (f"variables/{UNKNOWN}", "variables/name/nothing"):
        assert "no such variable" in served.get(path, code=404)["detail"]
        served.answer("PATCH", path, 404, json={"value": 1})
        served.answer("DELETE", path, 404)


@pytest.mark.parametrize("by", ["id", "name"])
def test_what_a_change_names_is_changed(served, made, by):
    before = made["colour"]
    path = f"variables/{before['id']}" if by == "id" else "variables/name/colour"
    assert served.answer("PATCH", path, 204, json={"value": None}) is None
    after = served.get(f"variables/{before['id']}")
    assert (after["value"], after["tags"], after["name"]) == (None, ["a", "b"], "colour")
    assert after["updated"] != before["updated"]
    assert after["created"] == before["created"]
    served.answer("PATCH", path, 204, json={"name": "shade", "tags": []})
    after = served.get("variables/name/shade")
    assert (after["value"], after["tags"], after["id"]) == (None, [], before["id"])


def test_a_change_keeps_names_apart(served, made):
    served.answer("PATCH", "variables/name/colour", 409, json={"name": "limits", "value": "lost"})
    assert served.get("variables/name/colour")["value"] == "blue"
    served.answer("PATCH", "variables/name/colour", 204, json={"name": "colour"})
    served.answer("PATCH", "variables/name/colour", 422, json={"name": "Not Good"})
    served.answer("PATCH", "variables/name/colour", 422, json={"other": 1})


def test_a_deleted_variable_is_gone(served, made):
    served.answer("DELETE", "variables/name/colour", 204)
    served.answer("DELETE", f"variables/{made['limits']['id']}", 204)
    assert names(served.post("variables/filter")) == ["number_one"]


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (None, ["colour", "limits", "number_one"]),
        ({}, ["colour", "limits", "number_one"]),
        ({"name": {"any_": ["colour", "nothing"]}}, ["colour"]),
        ({"name": {"any_": []}}, []),
        ({"name": {"like_": "M"}}, ["limits", "number_one"]),
        ({"name": {"like_": "num%one"}}, ["number_one"]),
        ({"name": {"like_": "number%"}}, ["number_one"]),
        ({"name": {"like_": "r_o"}}, ["number_one"]),
        ({"name": {"like_": "r__"}}, []),
        ({"tags": {"all_": ["a"]}}, ["colour", "limits"]),
        ({"tags": {"all_": ["a", "b"]}}, ["colour"]),
        ({"tags": {"is_null_": True}}, ["number_one"]),
        ({"operator": "or_", "tags": {"is_null_": True}, "name": {"like_": "col"}}, ["colour", "number_one"]),
    ],
)
def test_a_filter(served, made, filter, expected):
    assert names(served.post("variables/filter", {"variables": filter})) == expected
    assert served.post("variables/count", {"variables": filter}) == len(expected)


def test_a_filter_by_id(served, made):
    chosen = {"variables": {"id": {"any_": [made["limits"]["id"], UNKNOWN]}}}
    assert names(served.post("variables/filter", chosen)) == ["limits"]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("NAME_DESC", ["number_one", "limits", "colour"]),
        ("CREATED_DESC", ["number_one", "limits", "colour"]),
        ("UPDATED_DESC", ["colour", "number_one", "limits"]),
    ],
)
def test_a_list_is_sorted(served, made, sort, expected):
    served.answer("PATCH", "variables/name/colour", 204, json={"value": 2})
    assert names(served.post("variables/filter", {"sort": sort})) == expected


def test_a_list_comes_in_pages(served, made):
    assert names(served.post("variables/filter", {"limit": 1, "offset": 1})) == ["limits"]
    assert served.post("variables/filter", {"limit": 0}) == []
    assert names(served.post("variables/filter", {"limit": None, "offset": None, "sort": None})) == sorted(made)
    for wrong in ({"limit": 201}, {"limit": -1}, {"offset": -1}, {"sort": "SIZE"}, {"variables": {"size": 1}}):
        served.post("variables/filter", wrong, code=422)


def test_a_list_may_be_asked_for_without_a_body(served, made):
    assert len(served.answer("POST", "variables/filter", 200)) == 3
    assert served.answer("POST", "variables/count", 200) == 3
