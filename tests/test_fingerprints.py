"""A fingerprint is the same for equal values, in every process and whatever is shared; different values differ."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tidemill.exceptions import SerializationError
from tidemill.fingerprints import fingerprint, fingerprint_of_atoms, is_atom


@dataclass
class Leaf:
    name: Any
    other: Any = None


def fresh(text: str) -> str:
    """An equal text that is another object."""
    return "".join(list(text))


SHARED = fresh("a text that is shared")
SHARED_LIST = [1, 2]

EQUAL: dict[str, Callable[[], tuple[Any, Any]]] = {
    "sets in any order": lambda: ({0, 8}, {8, 0}),  # two numbers with one place in the table: the first gets it
    "sets of tuples": lambda: ({(1, "a"), (2, "b")}, {(2, fresh("b")), (1, fresh("a"))}),
    "dicts in any order": lambda: ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "a shared text in a list": lambda: ([SHARED, SHARED], [SHARED, fresh(SHARED)]),
    "a shared list in a dict": lambda: ({"a": SHARED_LIST, "b": SHARED_LIST}, {"a": [1, 2], "b": [1, 2]}),
    "a shared text in an object": lambda: (Leaf(SHARED, SHARED), Leaf(SHARED, fresh(SHARED))),
    "a text in an object that is also an attribute's name": lambda: (Leaf("name"), Leaf(fresh("name"))),
    "a set in an object": lambda: (Leaf({0, 8}), Leaf({8, 0})),
    "dicts of texts in any order": lambda: ({"a": [1], "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": [1]}),
    "many numbers": lambda: (list(range(200_001)), list(range(200_001))),
    "numbers that Python does not write in decimal digits": lambda: ([10**5000, "a"], [10**5000, fresh("a")]),
    "arrays of bytes": lambda: (bytearray(b"ab"), bytearray(b"ab")),
    "dates": lambda: (datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=UTC)),
}

DIFFERENT = {
    "none": None,
    "none as text": "None",
    "one": 1,
    "one as float": 1.0,
    "true": True,
    "one as text": "1",
    "one as bytes": b"1",
    "one as decimal": Decimal(1),
    "no number": math.nan,
    "empty text": "",
    "empty bytes": b"",
    "empty list": [],
    "empty tuple": (),
    "empty dict": {},
    "empty set": set(),
    "empty frozenset": frozenset(),
    "list": [1, 2],
    "list, turned": [2, 1],
    "tuple": (1, 2),
    "set": {1, 2},
    "frozenset": frozenset({1, 2}),
    "list of lists": [[1], [2]],
    "list of a list": [[1, 2]],
    "list and number": [[1], 2],
    "dict": {1: 2},
    "dict, turned": {2: 1},
    "dict of a list": {"a": [1]},
    "dict of texts": {"a": "b"},
    "dict of texts, turned": {"b": "a"},
    "dict of two texts": {"a": "b", "c": "d"},
    "dict of two texts, crossed": {"a": "d", "c": "b"},
    "list of two texts of a dict": [{"a": "b"}, {"c": "d"}],
    "its texts": ["a", "c", "b", "d"],
    "dict of a tuple": {"a": (1,)},
    "two texts": ["a", "b"],
    "one text": ["ab"],
    "text with a comma": ["a','b"],
    "text that looks like ours": ["a';str:'b"],
    "surrogate": "\ud800",
    "surrogate as an escape": "\\ud800",
    "object": Leaf(1),
    "object with another value": Leaf(2),
    "object of another type": datetime(2024, 5, 1, tzinfo=UTC),
    "type": Leaf,
    "many": list(range(100_001)),
    "many, as a tuple": tuple(range(100_001)),
    "many, and one differs": [*range(100_000), 0],
    "many, in two lists": [list(range(100_000)), [100_000]],
    "very large": 10**5000,
    "very large and different": 10**5000 + 1,
    "list of the very large": [10**5000],
    "list of the very large and different": [10**5000 + 1],
    "negative": -1,
    "hexadecimal": 16,
    "hexadecimal as text": "10",
    "long": "x" * 100_000,
    "long and different": "x" * 99_999 + "y",
}

ELSEWHERE = """
import json
from dataclasses import dataclass
from datetime import date
from enum import Enum
from tidemill.fingerprints import fingerprint, fingerprint_of_atoms

class Colour(Enum):
    RED = 1

@dataclass
class Leaf:
    value: object

words = [f"word {n}" for n in range(50)]
values = {
    "number": 42, "text": "ü", "list": [1, 2.5, None], "dict": {"a": (1, b"2")}, "date": date(2024, 5, 1), "enum": Colour.RED,
    "object": Leaf([1]), "set": set(words), "nested sets": frozenset({frozenset(words), frozenset({1})}),
    "set in a dict": {"a": {"b": set(words)}}, "dict made from a set": dict.fromkeys(set(words)),
    "set in an object": Leaf(set(words)),
}
answers = {name: fingerprint(value) for name, value in values.items()}
print(json.dumps({**answers, "atoms": fingerprint_of_atoms({"a": 1, "b": "x"})}))
"""

KINDS = [
    *("number", "text", "list", "dict", "date", "enum", "object", "set", "nested sets", "set in a dict"),
    *("dict made from a set", "set in an object", "atoms"),
]


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory, environment_for: Callable[..., dict[str, str]]) -> list[dict[str, str]]:
    """What two processes with different hash seeds say."""
    answers: list[dict[str, str]] = []
    script: Path = tmp_path_factory.mktemp("elsewhere") / "script.py"
    script.write_text(ELSEWHERE, encoding="utf-8")
    for seed in ("1", "2"):
        environment = environment_for(script.parent, {"PYTHONHASHSEED": seed})
        done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout))
    return answers


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_same_in_processes_with_different_hash_seeds(kind: str, processes: list[dict[str, str]]) -> None:
    one, other = processes
    assert one[kind] == other[kind]


def test_every_kind_is_looked_at(processes: list[dict[str, str]]) -> None:
    assert list(processes[0]) == KINDS


@pytest.mark.parametrize("make", EQUAL.values(), ids=EQUAL)
def test_equal_values_have_equal_fingerprints(make: Callable[[], tuple[Any, Any]]) -> None:
    one, other = make()
    assert one == other
    assert fingerprint(one) == fingerprint(other)


def test_different_values_have_different_fingerprints() -> None:
    prints = {name: fingerprint(value) for name, value in DIFFERENT.items()}
    assert [pair for pair in combinations(prints, 2) if prints[pair[0]] == prints[pair[1]]] == []


def test_no_number_is_always_the_same() -> None:
    assert fingerprint(float("nan")) == fingerprint(math.nan)


def test_it_is_32_hex_digits() -> None:
    for text in (fingerprint(None), fingerprint(Leaf("x")), fingerprint_of_atoms({})):
        assert len(text) == 32
        assert set(text) <= set("0123456789abcdef")


def test_a_value_that_cannot_be_pickled_is_an_error() -> None:
    with pytest.raises(SerializationError, match="generator"):
        fingerprint([1, {"a": (x for x in "abc")}])


def test_a_dict_of_atoms_is_told_from_others() -> None:
    dicts: list[dict[str, Any]] = [
        *({}, {"a": 1}, {"a": True}, {"a": 1.0}, {"a": "1"}, {"a": b"1"}, {"a": None}, {"a": "None"}),
        *({"b": 1}, {"a": 1, "b": 1}, {"a": "1, 'b': 1"}, {"a": "\ud800"}, {"a": "\\ud800"}),
    ]
    assert len({fingerprint_of_atoms(values) for values in dicts}) == len(dicts)
    assert all(is_atom(value) for values in dicts for value in values.values())


@pytest.mark.parametrize("value", [[], (), {}, set(), Leaf(1), Decimal(1), type("T", (str,), {})("a")])
def test_what_has_parts_or_a_type_of_its_own_is_no_atom(value: Any) -> None:
    assert not is_atom(value)
