"""A flow's parameters are bound like a Python call, then checked and coerced by their annotations."""

import datetime
import enum
import functools
from typing import Annotated, Literal

import pydantic
import pytest

from tidemill import flow, task
from tidemill.exceptions import ParameterTypeError


class Colour(enum.Enum):
    RED = "red"


class Place(pydantic.BaseModel):
    town: str
    people: int = 0


def make(colour, annotation, **options):
    """A flow with one parameter of this type, which it returns."""

    @flow(**options)
    @colour.paint
    async def typed(x: annotation):
        return x

    return typed


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        (int, "1", 1),
        (float, 1, 1.0),
        (str, "a", "a"),
        (bool, "yes", True),
        (list[int], ("1", 2), [1, 2]),
        (dict[str, int], {"a": "1"}, {"a": 1}),
        (int | None, None, None),
        (datetime.date, "2022-08-18", datetime.date(2022, 8, 18)),
        (Colour, "red", Colour.RED),
        (Place, {"town": "Ulm", "people": "126000"}, Place(town="Ulm", people=126000)),
        (Literal["a", "b"], "b", "b"),
        (Annotated[int, pydantic.Field(gt=0)], 5, 5),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_value_is_coerced_to_its_annotation(colour, annotation, given, expected):
    value = colour.run(make(colour, annotation), given)
    assert value == expected
    assert type(value) is type(expected)


def test_a_value_that_fits_is_passed_as_it_is(colour):
    place, numbers = Place(town="Ulm"), [1, 2]
    assert colour.run(make(colour, Place), place) is place
    assert colour.run(make(colour, list), numbers) is numbers


def test_a_type_that_pydantic_does_not_know_is_only_checked(colour):
    class Odd:
        pass

    odd = Odd()
    assert colour.run(make(colour, Odd), odd) is odd
    with pytest.raises(ParameterTypeError, match="x"):
        colour.run(make(colour, Odd), 1)


def test_each_failure_is_named_and_the_run_is_recorded_as_failed(colour, recorded):
    @flow
    @colour.paint
    async def typed(count: int, day: datetime.date, name: str = "x"):
        raise AssertionError("the body must not run")

    with pytest.raises(ParameterTypeError) as caught:
        colour.run(typed, "many", day="someday")
    message = str(caught.value)
    assert "count" in message
    assert "day" in message
    assert "name" not in message
    assert "valid integer" in message
    run = recorded.flow_run()
    assert run["state_type"] == "FAILED"
    assert run["parameters"] == {"count": "many", "day": "someday", "name": "x"}


def test_return_state_gives_the_failed_state(colour):
    state = colour.run(make(colour, int), "many", return_state=True)
    assert state.is_failed()
    assert isinstance(state.result(raise_on_failure=False), ParameterTypeError)


def test_validation_can_be_switched_off(colour):
    assert colour.run(make(colour, int, validate_parameters=False), "many") == "many"


def test_parameters_without_annotations_are_not_touched(colour):
    @flow
    @colour.paint
    async def untyped(x, y="2"):
        return x, y

    thing = object()
    assert colour.run(untyped, thing) == (thing, "2")


def test_variadic_parameters_are_checked_too(colour):
    @flow
    @colour.paint
    async def sums(*numbers: int, **named: int):
        return sum(numbers) + sum(named.values())

    assert colour.run(sums, "1", 2, a="3") == 6
    with pytest.raises(ParameterTypeError, match="named"):
        colour.run(sums, 1, named="x")


def test_a_tasks_parameters_are_left_alone(colour):
    @task
    @colour.paint
    async def typed(x: int):
        return x

    assert colour.run(typed, "many") == "many"


def test_a_parameter_may_be_named_like_things_of_pydantic(colour):
    @flow
    @colour.paint
    async def awkward(schema: int, json: int, copy: int, model_config: int, _private: int = 0):
        return schema, json, copy, model_config, _private

    assert colour.run(awkward, "1", "2", "3", "4", "5") == (1, 2, 3, 4, 5)


def test_annotations_as_text_are_understood():
    def typed(x: "int", y: "Place"):
        return x, y

    assert flow(typed)("1", {"town": "Ulm"}) == (1, Place(town="Ulm"))


def test_a_function_wrapped_by_another_decorator_keeps_its_parameters(recorded):
    def loud(fn):
        @functools.wraps(fn)
        def wrapped(*args, **kwargs):
            return fn(*args, **kwargs)

        return wrapped

    @flow
    @loud
    def typed(x: int, y: int = 2):
        return x + y

    assert typed("1") == 3
    assert recorded.flow_run()["parameters"] == {"x": 1, "y": 2}


def test_coerced_values_are_the_recorded_parameters(colour, recorded):
    colour.run(make(colour, datetime.date), "2022-08-18")
    assert recorded.flow_run()["parameters"] == {"x": "2022-08-18"}


@pytest.mark.parametrize("reserved", ["return_state", "wait_for"])
@pytest.mark.parametrize("decorator", [flow, task], ids=["flow", "task"])
def test_a_reserved_parameter_name_is_refused_where_it_is_defined(decorator, reserved):
    from tidemill.exceptions import ReservedArgumentError

    namespace = {}
    exec(f"def odd({reserved}): pass", namespace)
    with pytest.raises(ReservedArgumentError, match=reserved):
        decorator(namespace["odd"])
