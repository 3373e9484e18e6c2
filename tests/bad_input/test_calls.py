"""What a wrong call gets, and what odd arguments get."""

import math
import threading

import pytest

from tidemill import flow, task
from tidemill.exceptions import ParameterTypeError


@pytest.fixture(params=[flow, task], ids=["flow", "task"])
def decorator(request):
    return request.param


@pytest.mark.parametrize(
    ("args", "kwargs", "told"),
    [
        ((), {}, "missing"),
        ((1, 2, 3), {}, "positional argument"),
        ((1,), {"z": 2}, "'z'"),
        ((1,), {"x": 2}, "'x'"),
    ],
    ids=["too few", "too many", "unknown keyword", "given twice"],
)
def test_a_wrong_call_raises_what_python_would_before_anything_runs(decorator, recorded, args, kwargs, told):
    bodies = []

    def target(x, y=1):
        bodies.append(x)

    with pytest.raises(TypeError) as plainly:
        target(*args, **kwargs)
    with pytest.raises(TypeError, match=told) as caught:
        decorator(target)(*args, **kwargs)
    assert type(caught.value) is TypeError
    assert "target" in str(plainly.value)
    assert "target" in str(caught.value)
    assert bodies == []
    assert recorded.flow_runs() == []
    assert recorded.task_runs() == []


def test_a_wrong_call_inside_a_flow_fails_the_flow_as_any_exception(recorded):
    @task
    def needs_one(x):
        return x

    @flow
    def parent():
        needs_one()

    with pytest.raises(TypeError, match="needs_one"):
        parent()
    assert recorded.flow_run()["state_type"] == "FAILED"
    assert recorded.task_runs() == []


def test_a_parameter_that_cannot_be_coerced_is_named_with_the_reason_and_the_value_kept(recorded):
    @flow
    def typed(count: int, ratio: float, label: str = "x"):
        raise AssertionError("the body must not run")

    with pytest.raises(ParameterTypeError) as caught:
        typed("many", ratio={"a": 1})
    told = str(caught.value)
    assert all(word in told for word in ("typed", "count", "ratio"))
    assert "label" not in told
    run = recorded.flow_run()
    assert (run["state_type"], run["state"]["message"]) == ("FAILED", run["state"]["message"])
    assert run["parameters"] == {"count": "many", "ratio": {"a": 1}, "label": "x"}
    assert any("count" in log["message"] for log in recorded.logs())


class Odd:
    """Cannot be written down, and says what it is."""

    def __repr__(self):
        return "<an odd thing>"

    def __reduce__(self):
        raise TypeError("not to be taken apart")


class Worse(Odd):
    """Cannot even say what it is."""

    def __repr__(self):
        raise ZeroDivisionError("in repr")


def circle():
    ring = []
    ring.append(ring)
    return ring


def deep():
    nested = []
    for _ in range(100_000):
        nested = [nested]
    return nested


ODD = {
    "lock": (threading.Lock, "lock"),
    "object": (Odd, "an odd thing"),
    "object without repr": (Worse, "Worse"),
    "lambda": (lambda: lambda: 1, "lambda"),
    "class": (lambda: Odd, "Odd"),
    "exception": (lambda: ValueError("a value"), "a value"),
    "bytes": (lambda: b"\xff\xfe", ""),
    "set": (lambda: {1, 2}, ""),
    "odd keys": (lambda: {(1, 2): 3, None: 4}, ""),
    "nan": (lambda: math.nan, ""),
    "infinity": (lambda: math.inf, ""),
    "large integer": (lambda: 2**200, ""),
    "complex": (lambda: 1 + 2j, ""),
    "lone surrogate": (lambda: "\ud800", ""),
    "zero byte": (lambda: "a\x00b", ""),
    "circle": (circle, ""),
    "deep nesting": (deep, ""),
}


@pytest.mark.parametrize(("make", "shown"), ODD.values(), ids=ODD.keys())
def test_a_parameter_that_cannot_be_written_down_has_a_readable_stand_in(recorded, make, shown):
    value = make()

    @task
    def below(thing):
        return thing is value

    @flow
    def parent(thing, more=1):
        return below(thing) and thing is value

    assert parent(value) is True
    run = recorded.flow_run()
    assert run["state_type"] == "COMPLETED"
    assert run["parameters"]["more"] == 1
    assert shown in str(run["parameters"]["thing"])
    assert recorded.task_run()["state_type"] == "COMPLETED"


def test_a_huge_parameter_is_passed_whole_and_recorded_readably(recorded, home):
    value = "x" * 20_000_000

    @flow
    def parent(text, more=1):
        return len(text)

    assert parent(value) == len(value)
    assert recorded.flow_run()["parameters"]["more"] == 1


def test_a_parameter_whose_comparison_raises_is_harmless():
    class Array:
        def __eq__(self, other):
            raise ValueError("the truth value of an array is ambiguous")

        __hash__ = None

        def __bool__(self):
            raise ValueError("the truth value of an array is ambiguous")

    array = Array()

    @task
    def give():
        return array

    @task
    def take(x):
        return x is array

    @flow
    def parent(x):
        return take(give()) and x is array

    assert parent(array) is True
