"""The JSON schema of a function's parameters."""

import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum, IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType, Optional, TypedDict, TypeVar, Union

import msgspec
import pytest
from pydantic import BaseModel

from tidemill.engine.parameter_types import parameter_schema
from tidemill.engine.parameters import Signature

if TYPE_CHECKING:
    from nowhere import Nothing


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1


class Odd(Enum):
    A = object()


@dataclass
class Point:
    x: int
    tags: list[str] = field(default_factory=list)
    hidden: int = field(default=0, init=False)


class Options(TypedDict, total=False):
    dry: bool


class Inner(BaseModel):
    n: int = 1


class Model(BaseModel):
    inner: Inner


@dataclass
class Tree:
    children: "list[Tree]"


UserId = NewType("UserId", int)
T = TypeVar("T")


def schema_of(annotation: Any) -> dict[str, Any]:
    def f(x): ...

    told = parameter_schema(list(inspect.signature(f).parameters.values()), {"x": annotation}, None)
    assert told is not None
    whole = msgspec.json.decode(told)
    schema = whole["properties"]["x"]
    assert (schema.pop("title"), schema.pop("position")) == ("x", 0)
    return schema


STRING = {"type": "string"}
INTEGER = {"type": "integer"}


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (Any, {}),
        (object, {}),
        (T, {}),
        (None, {"type": "null"}),
        (int, INTEGER),
        (bool, {"type": "boolean"}),
        (float, {"type": "number"}),
        (str, STRING),
        (bytes, {"type": "string", "format": "binary"}),
        (date, {"type": "string", "format": "date"}),
        (datetime, {"type": "string", "format": "date-time"}),
        (Path, {"type": "string", "format": "path"}),
        (UserId, INTEGER),
        (Annotated[int, "how many"], INTEGER),
        (list, {"type": "array"}),
        (list[int], {"type": "array", "items": INTEGER}),
        (list[Any], {"type": "array"}),
        (Sequence[str], {"type": "array", "items": STRING}),
        (Iterable[str], {"type": "array", "items": STRING}),
        (set[str], {"type": "array", "uniqueItems": True, "items": STRING}),
        (tuple, {"type": "array"}),
        (tuple[int, ...], {"type": "array", "items": INTEGER}),
        (tuple[int, str], {"type": "array", "prefixItems": [INTEGER, STRING], "minItems": 2, "maxItems": 2}),
        (dict, {"type": "object"}),
        (dict[str, int], {"type": "object", "additionalProperties": INTEGER}),
        (Mapping[str, Any], {"type": "object"}),
        (Optional[int], {"anyOf": [INTEGER, {"type": "null"}]}),  # noqa: UP045
        (Union[int, str], {"anyOf": [INTEGER, STRING]}),  # noqa: UP007
        (int | None, {"anyOf": [INTEGER, {"type": "null"}]}),
        (int | Any, {}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Colour, {"type": "string", "enum": ["red", "blue"]}),
        (Level, {"type": "integer", "enum": [1]}),
        (Odd, {}),
        (Options, {"type": "object", "properties": {"dry": {"type": "boolean"}}, "required": []}),
        (
            Point,
            {
                "type": "object",
                "properties": {"x": INTEGER, "tags": {"type": "array", "items": STRING}},
                "required": ["x"],
            },
        ),
        (type[int], {}),
        (int.__add__, {}),
        ("never resolved", {}),
    ],
    ids=repr,
)
def test_an_annotation_says_what_fits(annotation: Any, schema: dict[str, Any]) -> None:
    assert schema_of(annotation) == schema


def test_a_type_that_holds_itself_comes_to_an_end() -> None:
    assert schema_of(Tree)["properties"]["children"]["type"] == "array"


ONE = Point(1)
NO_JSON = object()


def example(me, day: date, upto: int = 3, point: Point = ONE, *rest: int, odd=NO_JSON, on: "Nothing" = None, **more): ...


def test_the_whole_is_an_object_with_the_parameters_in_their_order() -> None:
    told = Signature(example, "f", bound=True).schema("Fetches all days.\n\nAnd more.")
    assert told is not None
    whole = msgspec.json.decode(told)
    properties = whole.pop("properties")
    assert whole == {"title": "Parameters", "type": "object", "required": ["day"], "description": "Fetches all days."}
    assert list(properties) == ["day", "upto", "point", "rest", "odd", "on", "more"]
    assert [each["position"] for each in properties.values()] == [*range(7)]
    assert properties["upto"] == {"title": "upto", "type": "integer", "default": 3, "position": 1}
    assert properties["point"]["default"] == {"x": 1, "tags": []}
    assert properties["rest"] == {"title": "rest", "type": "array", "items": {"type": "integer"}, "position": 3}
    assert "default" not in properties["odd"]
    assert properties["on"] == {"title": "on", "default": None, "position": 5}
    assert properties["more"]["type"] == "object"


def test_a_model_says_itself_what_it_takes() -> None:
    def f(model: Model): ...

    told = Signature(f, "f", bound=False).schema(None)
    assert told is not None
    whole = msgspec.json.decode(told)
    assert whole["properties"]["model"]["properties"] == {"inner": {"$ref": "#/$defs/Inner"}}
    assert whole["$defs"]["Inner"]["properties"]["n"]["default"] == 1


class Broken:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")

    __hash__ = None  # type: ignore[assignment]


def test_no_annotation_and_no_default_does_harm() -> None:
    def f(a: Broken(), b=Broken(), c: list[Broken()] = ()): ...  # noqa: B008

    assert parameter_schema(list(inspect.signature(f).parameters.values()), f.__annotations__, None) is not None

    def huge(a: Literal[tuple(str(n) for n in range(100_000))]): ...  # type: ignore[valid-type]

    assert Signature(huge, "f", bound=False).schema(None) is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the statement is new in 3.12")
def test_a_named_type_is_what_it_stands_for() -> None:
    names: dict[str, Any] = {}
    exec("type Ids = list[int]", names)
    assert schema_of(names["Ids"]) == {"type": "array", "items": INTEGER}
