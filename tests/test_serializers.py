"""Values to bytes and back: JSON only where it gives the value back exactly, pickle for the rest."""

import enum
import math
import pickle
import sys
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import msgspec
import pytest

from tidemill import serializers
from tidemill.exceptions import DefinitionError, SerializationError

Pair = namedtuple("Pair", "left right")


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Text(str):
    __slots__ = ()


@dataclass
class Point:
    x: int
    y: int


class Record(msgspec.Struct):
    x: int


class Unreadable:
    """Can be written, and not be read back."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


class Stubborn:
    def __reduce__(self) -> Any:
        raise RuntimeError("I stay here")


PLAIN = {
    "null": None,
    "yes": True,
    "no": False,
    "zero": 0,
    "smallest": -(2**63),
    "largest": 2**63 - 1,
    "whole float": 1.0,
    "negative zero": -0.0,
    "fraction": 0.1,
    "tiny": 5e-324,
    "huge": 1.7976931348623157e308,
    "large float": 1e22,
    "empty": "",
    "text": "tide",
    "any text": '\x00 \n " \\ ü 日 🌊 \u2028',
    "list": [1, "a", None, [2.5]],
    "empty list": [],
    "dict": {"b": 1, "a": {"": [True]}},
    "empty dict": {},
    "many parts": list(range(40)),
}

OTHER = {
    "tuple": (1, 2),
    "tuple in a list": [(1, 2)],
    "set": {1, 2},
    "frozenset": frozenset({"a"}),
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"a"),
    "infinity": math.inf,
    "infinity in a dict": {"x": -math.inf},
    "too large": 2**63,
    "too small": -(2**63) - 1,
    "very large": [10**400],
    "lone surrogate": "\ud800",
    "lone surrogate inside": ["a", {"b": "\udfff"}],
    "lone surrogate as a key": {"\ud800": 1},
    "keys that are no text": {1: "a", None: "b"},
    "keys that are true": {True: 1},
    "more than a hundred parts": list(range(101)),
    "complex": 1 + 2j,
    "decimal": Decimal("1.10"),
    "datetime": datetime(2024, 5, 1, tzinfo=UTC),
    "path": PurePosixPath("/a"),
    "enum": Colour.RED,
    "enum that is a number": Level.LOW,
    "text of one's own": Text("a"),
    "key of one's own": {Text("a"): 1},
    "named tuple": Pair(1, [2]),
    "ordered dict": OrderedDict(b=1, a=2),
    "dataclass": Point(1, 2),
    "struct": Record(1),
    "exception": ValueError("x").args,
    "type": Point,
}


def types_in(value: Any) -> Any:
    """What a value is made of: 1, 1.0 and True are equal, and are not the same."""
    if isinstance(value, dict):
        return type(value), [(types_in(key), types_in(member)) for key, member in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [types_in(member) for member in value]
    return type(value)


@pytest.mark.parametrize("value", PLAIN.values(), ids=PLAIN)
def test_plain_values_are_json_and_come_back_exactly(value: Any) -> None:
    serializer, data = serializers.dump(value)
    assert serializer == "json"
    back = serializers.load(serializer, data)
    assert back == value
    assert types_in(back) == types_in(value)
    assert repr(back) == repr(value)


@pytest.mark.parametrize("value", OTHER.values(), ids=OTHER)
def test_what_json_would_not_give_back_exactly_is_pickled(value: Any) -> None:
    serializer, data = serializers.dump(value)
    assert serializer == "pickle"
    back = serializers.load(serializer, data)
    assert back == value
    assert types_in(back) == types_in(value)


def test_no_number_comes_back_as_no_number() -> None:
    serializer, data = serializers.dump(math.nan)
    assert serializer == "pickle"
    assert math.isnan(serializers.load(serializer, data))


def test_a_list_that_holds_itself_comes_back_holding_itself() -> None:
    value: list[Any] = [1]
    value.append(value)
    serializer, data = serializers.dump(value)
    assert serializer == "pickle"
    back = serializers.load(serializer, data)
    assert back[1] is back


@pytest.mark.parametrize("depth", [10, 99, 101, 400])
def test_nested_lists_come_back_as_deep_as_they_were(depth: int) -> None:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    back = serializers.load(*serializers.dump(value))
    for _ in range(depth):
        (back,) = back
    assert back == []


def test_what_pickle_cannot_write_is_left_to_cloudpickle() -> None:
    factor = 3
    serializer, data = serializers.dump({"triple": lambda x: factor * x})
    assert serializer == "pickle"
    assert serializers.load(serializer, data)["triple"](14) == 42


def test_an_object_of_a_local_class_comes_back() -> None:
    class Local:
        def __init__(self, x: int) -> None:
            self.x = x

    assert serializers.load(*serializers.dump(Local(42))).x == 42


@pytest.mark.parametrize(
    ("value", "name", "reason"),
    [(Stubborn(), "Stubborn", "I stay here"), ([1, (x for x in "abc")], "list", "generator")],
)
def test_what_cannot_be_pickled_is_told_with_type_and_reason(value: Any, name: str, reason: str) -> None:
    with pytest.raises(SerializationError, match=rf"type {name} cannot be pickled \(.*{reason}"):
        serializers.dump(value)


def test_dump_pickle_pickles_plain_values_too() -> None:
    assert pickle.loads(serializers.dump_pickle(42)) == 42


@pytest.mark.parametrize(
    ("serializer", "data"),
    [
        ("json", b""),
        ("json", b"[1,"),
        ("json", b"\xff"),
        ("pickle", b""),
        ("pickle", b"junk"),
        ("pickle", pickle.dumps([1, 2, 3])[:-3]),
        ("pickle", b"cno_such_module\nThing\n."),
        ("pickle", pickle.dumps(Unreadable())),
    ],
)
def test_bytes_that_give_no_value_are_an_error(serializer: str, data: bytes) -> None:
    with pytest.raises(SerializationError, match="cannot be read back") as caught:
        serializers.load(serializer, data)
    assert caught.value.__cause__ is not None


def test_an_unknown_serializer_is_named() -> None:
    with pytest.raises(SerializationError, match=r"no serializer 'yaml'.*'pickle', 'json'"):
        serializers.load("yaml", b"1")


class Shouting:
    """Writes text in capitals, and reads it back in small letters."""

    name = "shouting"

    def __init__(self, mark: str = "!") -> None:
        self.mark = mark

    def dumps(self, value: Any) -> bytes:
        return (value.upper() + self.mark).encode()

    def loads(self, data: bytes) -> Any:
        return data.decode()[:-1].lower()


class Nameless(Shouting):
    name = property(lambda self: type(self).__name__)  # type: ignore[assignment]


class Textual(Shouting):
    def dumps(self, value: Any) -> Any:
        return value.upper()


class Demanding(Shouting):
    def __init__(self, mark: str, more: str) -> None:
        super().__init__(mark + more)


COMPRESSED = [
    "compressed/pickle",
    "compressed/json",
    "compressed/zlib/pickle",
    "compressed/bz2/json",
    "compressed/lzma/pickle",
]


class TestChosenWays:
    @pytest.mark.parametrize("name", ["pickle", "json", *COMPRESSED])
    def test_a_way_gives_the_value_back_under_the_name_it_was_asked_for(self, name: str) -> None:
        way = serializers.chosen(name)
        value = {"a": [1, 2.5, None, "tide" * 1_000]}
        data = way.dump(value)
        assert way.name == name
        assert serializers.load(way.name, data) == value
        assert (len(data) < 1_000) is name.startswith("compressed")

    @pytest.mark.parametrize("name", COMPRESSED)
    def test_damaged_compressed_bytes_are_an_error(self, name: str) -> None:
        data = serializers.chosen(name).dump("tide" * 100)
        with pytest.raises(SerializationError, match="cannot be read back"):
            serializers.load(name, data[:-4])

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ({"a": [1, (2, 3)]}, r"it\['a'\]\[1\] is of type tuple"),
            ([{"day": datetime(2024, 5, 1, tzinfo=UTC)}], r"it\[0\]\['day'\] is of type datetime"),
            ({"a": {1: 2}}, r"it\['a'\] has a key of type int"),
            (Text("a"), "it is of type Text"),
            ([math.nan], r"it\[0\] is nan"),
            ({"a": "\ud800"}, "no Unicode"),
        ],
    )
    def test_json_writes_nothing_that_it_would_give_back_changed(self, value: Any, reason: str) -> None:
        with pytest.raises(SerializationError, match=reason):
            serializers.chosen("json").dump(value)

    def test_json_writes_large_values_and_refuses_what_is_too_deep(self) -> None:
        way = serializers.chosen("json")
        assert way.load(way.dump(list(range(10_000)))) == list(range(10_000))
        circle: list[Any] = []
        circle.append(circle)
        with pytest.raises(SerializationError, match="too deep"):
            way.dump(circle)

    def test_an_own_serializer_is_recorded_with_its_place(self) -> None:
        way = serializers.chosen(Shouting())
        assert way.name == f"shouting@{__name__}:Shouting"
        assert serializers.load(way.name, way.dump("Tide")) == "tide"

    def test_one_without_a_name_has_that_of_its_class(self) -> None:
        assert serializers.chosen(Nameless()).name == f"Nameless@{__name__}:Nameless"

    @pytest.mark.parametrize("place", ["{module}:Shouting", "{module}:TestChosenWays.Inner"])
    def test_in_a_process_that_has_not_made_it_its_class_is_called(self, place: str, elsewhere: str) -> None:
        assert serializers.load("other@" + place.format(module=elsewhere), b"TIDE!") == "tide"

    class Inner(Shouting):
        pass

    @pytest.fixture
    def elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> str:
        """This module, under a name that can be imported."""
        monkeypatch.setitem(sys.modules, "own_serializers", sys.modules[__name__])
        return "own_serializers"

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("x@own_serializers:Nowhere", "no attribute 'Nowhere'"),
            ("x@no_such_module:Own", "No module named 'no_such_module'"),
            ("x@own_serializers:Demanding", "missing 2 required"),
            ("x@own_serializers:Point", "missing 2 required"),
            ("x@", "Empty module name"),
        ],
    )
    def test_one_that_cannot_be_found_is_told_with_its_place(self, name: str, reason: str, elsewhere: str) -> None:
        with pytest.raises(SerializationError, match=rf"'x' is not known here.*{reason}.*Import the module"):
            serializers.load(name, b"")

    @pytest.mark.parametrize(
        ("serializer", "reason"),
        [
            ("yaml", "There is no serializer 'yaml'"),
            ("compressed", "There is no serializer"),
            ("compressed/yaml", "There is no serializer"),
            ("compressed/gzip/pickle", "There is no serializer"),
            ("compressed/compressed/pickle", "There is no serializer"),
            (Shouting, r"write Shouting\(\)"),
            (42, r"an object with dumps\(\) and loads\(\), not 42"),
            (None, "not None"),
        ],
    )
    def test_what_is_no_serializer_is_refused_where_it_is_declared(self, serializer: Any, reason: str) -> None:
        with pytest.raises(DefinitionError, match=reason):
            serializers.chosen(serializer)

    @pytest.mark.parametrize(("make", "reason"), [(Shouting, "AttributeError"), (Textual, "gave str; it must give bytes")])
    def test_what_an_own_serializer_does_wrong_is_told_with_its_name(self, make: Callable[[], Any], reason: str) -> None:
        value = 42 if make is Shouting else "tide"
        with pytest.raises(SerializationError, match=rf"{make.__name__}\.dumps\(\).*{reason}"):  # type: ignore[attr-defined]
            serializers.chosen(make()).dump(value)
