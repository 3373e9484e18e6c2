"""A function's parameters: bound as Python binds them, and checked against their annotations."""

import inspect
import math
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from tidemill.engine.parameters import Signature
from tidemill.exceptions import ParameterTypeError

if TYPE_CHECKING:
    from nowhere import Nothing


def both_kinds(a, /, b, c=3, *rest, d, e=5, **more): ...


def positional_only(a, b=2, /): ...


def keyword_only(*, a, b=2): ...


def only_stars(*args, **kwargs): ...


def odd_defaults(a=math.nan, b=..., _default_0=7): ...


def nothing(): ...


class Mean:
    """Compares equal to nothing, and says so loudly."""

    def __eq__(self, other):
        raise RuntimeError("do not compare me")

    __hash__ = None


CALLS = [
    (both_kinds, (1, 2), {"d": 4}),
    (both_kinds, (1,), {"b": 2, "d": 4}),
    (both_kinds, (1, 2, 3, 4, 5), {"d": 6, "e": 7, "f": 8}),
    (both_kinds, (1, 2), {"d": 4, "a": 9}),
    (positional_only, (1,), {}),
    (positional_only, (1, 3), {}),
    (keyword_only, (), {"a": 1}),
    (keyword_only, (), {"b": 1, "a": 2}),
    (only_stars, (), {}),
    (only_stars, (1, 2), {"x": 3}),
    (odd_defaults, (), {}),
    (odd_defaults, (1,), {"_default_0": 2}),
    (nothing, (), {}),
    (lambda x: x, (1,), {}),
]

WRONG_CALLS = [
    (both_kinds, (), {}),
    (both_kinds, (1, 2), {}),
    (positional_only, (), {"a": 1}),
    (positional_only, (1, 2, 3), {}),
    (keyword_only, (1,), {}),
    (keyword_only, (), {"a": 1, "c": 2}),
    (nothing, (1,), {}),
    (nothing, (), {"x": 1}),
]


@pytest.mark.parametrize(("fn", "args", "kwargs"), CALLS)
def test_a_call_is_bound_as_python_binds_it(fn, args, kwargs):
    expected = inspect.signature(fn).bind(*args, **kwargs)
    expected.apply_defaults()
    bound, receiver = Signature(fn, "f", bound=False).bind(args, kwargs)
    assert list(bound) == list(expected.arguments)
    assert all(one is other or one == other for one, other in zip(bound.values(), expected.arguments.values(), strict=True))
    assert receiver is None


@pytest.mark.parametrize(("fn", "args", "kwargs"), WRONG_CALLS)
def test_a_wrong_call_raises_pythons_own_error(fn, args, kwargs):
    with pytest.raises(TypeError) as pythons:
        fn(*args, **kwargs)
    with pytest.raises(TypeError) as ours:
        Signature(fn, "f", bound=False).bind(args, kwargs)
    assert str(ours.value) == str(pythons.value)


@pytest.mark.parametrize(("fn", "args", "kwargs"), CALLS)
def test_what_was_bound_gives_the_same_call_again(fn, args, kwargs):
    signature = Signature(fn, "f", bound=False)
    bound, _ = signature.bind(args, kwargs)
    again, _ = signature.bind(*signature.arguments(bound))
    assert list(again) == list(bound)
    assert all(one is other or one == other for one, other in zip(again.values(), bound.values(), strict=True))


def test_the_receiver_of_a_method_is_kept_apart():
    class Thing:
        def method(self, x, y=2): ...

    thing = Thing()
    signature = Signature(Thing.method, "method", bound=True)
    bound, receiver = signature.bind((thing, 1), {})
    assert (bound, receiver) == ({"x": 1, "y": 2}, thing)
    assert signature.arguments(bound, receiver) == ([thing, 1, 2], {})


def test_defaults_are_the_objects_themselves():
    shared = []

    def collects(x=shared): ...

    assert Signature(collects, "f", bound=False).bind((), {})[0]["x"] is shared


@pytest.mark.parametrize("name", ["class", "lambda", "not a name", "<lambda>", "None"])
def test_a_function_may_have_any_name(name):
    def function(x): ...

    function.__name__ = function.__qualname__ = name
    signature = Signature(function, name, bound=False)
    assert signature.bind((1,), {}) == ({"x": 1}, None)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        signature.bind((), {})


class Model(BaseModel):
    n: int


class Plain:
    pass


def annotated(
    number: int = 0,
    ratio: float = 0.0,
    text: str = "",
    day: date = date(2024, 1, 1),
    model: Model | None = None,
    choice: Literal["a", "b"] = "a",
    small: Annotated[int, Field(lt=10)] = 0,
    plain: Plain | None = None,
    unknown: "Nothing" = None,
    anything: Any = None,
    *more: int,
    **named: float,
): ...


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"number": "42"}, {"number": 42}),
        ({"number": 42}, {"number": 42}),
        ({"ratio": 1}, {"ratio": 1.0}),
        ({"day": "2024-05-01"}, {"day": date(2024, 5, 1)}),
        ({"model": {"n": "1"}}, {"model": Model(n=1)}),
        ({"choice": "b"}, {"choice": "b"}),
        ({"anything": Mean}, {"anything": Mean}),
    ],
)
def test_values_are_coerced_to_their_annotations(given, expected):
    assert Signature(annotated, "f", bound=False).check(given) == expected


def test_variadic_parameters_are_coerced_one_by_one():
    signature = Signature(annotated, "f", bound=False)
    bound, _ = signature.bind((1, 2.0, "", date(2024, 1, 1), None, "a", 0, None, None, None, "7", 8), {"x": "1.5"})
    checked = signature.check(bound)
    assert (checked["more"], checked["named"]) == ((7, 8), {"x": 1.5})


def test_the_given_parameters_are_not_changed():
    given = {"number": "42", "text": "x"}
    Signature(annotated, "f", bound=False).check(given)
    assert given == {"number": "42", "text": "x"}


def test_nothing_to_coerce_gives_the_same_parameters():
    given = {"number": 1, "anything": []}
    assert Signature(annotated, "f", bound=False).check(given) is given


def test_every_problem_is_named_with_its_place_and_reason():
    given = {"number": "many", "choice": "c", "small": 10, "model": {"n": "x"}, "plain": "no", "text": "fine"}
    with pytest.raises(ParameterTypeError) as caught:
        Signature(annotated, "my-flow", bound=False).check(given)
    first, *problems = str(caught.value).splitlines()
    assert first == "Flow run received invalid parameters for flow 'my-flow':"
    assert [problem.split(":")[0] for problem in problems] == [" - number", " - choice", " - small", " - model.n", " - plain"]


def test_a_default_that_does_not_fit_is_not_checked():
    def odd(x: int = None): ...  # noqa: RUF013

    assert Signature(odd, "f", bound=False).check({"x": None}) == {"x": None}


def test_annotations_that_cannot_be_resolved_are_left_out():
    assert Signature(annotated, "f", bound=False).check({"unknown": 42}) == {"unknown": 42}


def test_recorded_parameters_get_the_defaults_of_what_is_new():
    signature = Signature(both_kinds, "f", bound=False)
    assert signature.fitted({"a": 1, "b": 2, "d": 4}) == {"a": 1, "b": 2, "c": 3, "rest": (), "d": 4, "e": 5, "more": {}}
    assert Signature(both_kinds, "f", bound=True).fitted({"b": 2, "d": 4})["b"] == 2


def test_recorded_parameters_that_do_not_fit_are_named():
    with pytest.raises(ParameterTypeError, match=r" - z: there is no such parameter\n - b: it has no value\n - d: it has no"):
        Signature(both_kinds, "f", bound=False).fitted({"a": 1, "z": 2})
