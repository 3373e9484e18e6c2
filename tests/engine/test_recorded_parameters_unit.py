"""Parameters as JSON: what JSON cannot hold has a readable stand-in, and nothing a value does can stop a run."""

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Any

import pytest
from pydantic import BaseModel

from tidemill.engine.parameters import as_json, stand_in


class Plain:
    pass


class Model(BaseModel):
    n: int


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: Any


class Cannot:
    """Breaks whoever looks at it too closely."""

    def __init__(self, where):
        self.where = where

    def __getattr__(self, name):
        if self.__dict__.get("where") == "attributes":
            raise RuntimeError("not even looked at")
        raise AttributeError(name)

    def __repr__(self):
        if self.where == "repr":
            raise RuntimeError("not shown")
        return "<Cannot>"


class Broken(BaseModel):
    n: int

    def model_dump(self, **_):
        raise KeyError("n")


class Endless:
    """Answers as a mock does: with another of its kind."""

    asked = 0

    def model_dump(self, **_):
        Endless.asked += 1
        return Endless()


RECURSIVE = {}
RECURSIVE["self"] = RECURSIVE


@pytest.mark.parametrize(
    ("value", "recorded"),
    [
        (42, 42),
        ("ü", "ü"),
        ([1, (2, {"a": None})], [1, [2, {"a": None}]]),
        (datetime(2024, 5, 1, tzinfo=UTC), "2024-05-01T00:00:00Z"),
        (Decimal("1.10"), "1.10"),
        (Colour.RED, "red"),
        (Point(1), {"x": 1}),
        (Model(n=1), {"n": 1}),
        ([Model(n=1)], [{"n": 1}]),
        (PurePosixPath("/a"), "PurePosixPath('/a')"),
        (Plain, "<class '" + __name__ + ".Plain'>"),
        (Cannot("nothing"), "<Cannot>"),
        (Cannot("repr"), "Cannot object"),
        (2**100, 2**100),
    ],
    ids=lambda value: type(value).__name__,
)
def test_parameters_are_recorded_as_json_or_as_a_readable_stand_in(value, recorded):
    assert json.loads(as_json({"x": value, "y": 1})) == {"x": recorded, "y": 1}


@pytest.mark.parametrize(
    "make",
    [
        lambda: "\ud800",
        lambda: {"\ud800": 1},
        lambda: math.nan,
        lambda: RECURSIVE,
        lambda: Broken(n=1),
        lambda: Cannot("attributes"),
        lambda: {(1, 2): 3},
        lambda: {1, "a", None},
        lambda: b"\xff",
        lambda: Point(Point(object())),
        lambda: Point.__new__(Point),
        lambda: (x for x in "abc"),
    ],
)
def test_no_parameter_is_so_odd_that_it_cannot_be_recorded_and_the_others_are_not_touched(make):
    recorded = json.loads(as_json({"x": make(), "y": [1]}))
    assert list(recorded) == ["x", "y"]
    assert recorded["y"] == [1]


def test_a_parameter_that_answers_with_another_of_its_kind_is_not_asked_without_end():
    json.loads(as_json({"x": Endless()}))
    assert Endless.asked <= 2


def test_a_parameter_that_is_too_large_has_a_stand_in_and_the_others_do_not():
    recorded = json.loads(as_json({"x": "a" * 1_000_000, "y": [1]}))
    assert len(recorded["x"]) < 300
    assert recorded["y"] == [1]


@pytest.mark.parametrize(("length", "cut"), [(198, False), (199, True), (1_000_000, True)])
def test_a_stand_in_is_short(length, cut):
    text = stand_in("a" * length)
    assert text.endswith("...") is cut
    assert len(text) <= 203
