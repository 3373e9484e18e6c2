"""JSON schemas of parameters: those that are inferred from values."""

from typing import Any

import pytest

from tidemill.parameter_schemas import inferred, of_parameters


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (None, {}),
        (True, {"type": "boolean"}),
        (1, {"type": "integer"}),
        (1.5, {"type": "number"}),
        ("x", {"type": "string"}),
        ([], {"type": "array"}),
        ([1, 2], {"type": "array", "items": {"type": "integer"}}),
        ([1, 2.5], {"type": "array", "items": {"type": "number"}}),
        ([1, "x"], {"type": "array"}),
        ([1, None], {"type": "array"}),
        ([[1], []], {"type": "array", "items": {"type": "array"}}),
        ([{"a": 1}, {"b": 2}], {"type": "array", "items": {"type": "object"}}),
        ({}, {"type": "object"}),
        ({"a": {"b": [True]}}, {"type": "object", "properties": {"a": {"type": "object", "properties": {
            "b": {"type": "array", "items": {"type": "boolean"}}}}}}),
        ([*range(1000), "x"], {"type": "array"}),
    ],
)  # fmt: skip
def test_a_value_says_what_it_is(value: Any, schema: dict[str, Any]) -> None:
    assert inferred({"x": value})["properties"]["x"] == {"title": "x", **schema, "position": 0}


def test_what_is_deep_or_wide_is_not_followed_to_its_end() -> None:
    deep: Any = 1
    for _ in range(900):
        deep = {"x": [deep]}
    assert len(str(inferred({"deep": deep}))) < 1000
    assert inferred({"wide": {str(n): n for n in range(1000)}})["properties"]["wide"]["type"] == "object"
    assert "properties" not in inferred({"wide": {str(n): n for n in range(1000)}})["properties"]["wide"]


def test_parameters_keep_their_order() -> None:
    whole = inferred({"b": 1, "a": 2})
    assert (whole["type"], whole["required"]) == ("object", [])
    assert [(name, each["position"]) for name, each in whole["properties"].items()] == [("b", 0), ("a", 1)]
    assert "description" not in whole
    assert of_parameters({}, ["a"], "What it does")["description"] == "What it does"
