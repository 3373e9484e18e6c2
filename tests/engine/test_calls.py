"""What a call gives: the function's value, its exception, or its state."""

import functools

import pytest

from tidemill import Flow, State, Task, flow, task
from tidemill.states import StateType


@pytest.fixture(params=[flow, task], ids=["flow", "task"])
def decorator(request):
    return request.param


def test_a_call_gives_the_functions_value(colour, decorator):
    @decorator
    @colour.paint
    async def double(x):
        return x * 2

    assert colour.run(double, 21) == 42
    assert colour.run(double, x="ab") == "abab"


@pytest.mark.parametrize("value", [None, 0, "", [], {"a": [1]}, (1, 2), {1, 2}, 1.5, b"\x00", ValueError("a value")])
def test_any_value_comes_back_as_it_was(colour, decorator, value):
    @decorator
    @colour.paint
    async def give():
        return value

    assert colour.run(give) is value


def test_a_call_raises_the_functions_exception_itself(colour, decorator):
    error = LookupError("gone")

    @decorator
    @colour.paint
    async def fail():
        raise error

    with pytest.raises(LookupError) as caught:
        colour.run(fail)
    assert caught.value is error


def test_notes_and_cause_of_an_exception_stay(colour, decorator):
    @decorator
    @colour.paint
    async def fail():
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError as cause:
            error = LookupError("gone")
            error.add_note("look under the sofa")
            raise error from cause

    with pytest.raises(LookupError) as caught:
        colour.run(fail)
    assert caught.value.__notes__ == ["look under the sofa"]
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_return_state_gives_the_state_of_a_good_run(colour, decorator):
    @decorator
    @colour.paint
    async def give():
        return 42

    state = colour.run(give, return_state=True)
    assert isinstance(state, State)
    assert state.type is StateType.COMPLETED
    assert state.result() == 42
    assert repr(state) == "Completed(message=None, type=COMPLETED, result=42)"
    assert str(state) == "Completed()"


@pytest.mark.parametrize(("decorator_", "kind"), [(flow, "Flow"), (task, "Task")])
def test_return_state_gives_the_state_of_a_failed_run_and_never_raises(colour, decorator_, kind):
    error = LookupError("gone")

    @decorator_
    @colour.paint
    async def fail():
        raise error

    state = colour.run(fail, return_state=True)
    assert state.is_failed()
    assert state.message == f"{kind} run encountered an exception."
    assert str(state) == f"Failed('{kind} run encountered an exception.')"
    assert state.result(raise_on_failure=False) is error
    with pytest.raises(LookupError) as caught:
        state.result()
    assert caught.value is error


def test_fn_is_the_function_itself(colour, decorator, recorded):
    @colour.paint
    async def double(x):
        return x * 2

    tracked = decorator(double)
    assert tracked.fn is double
    assert colour.run(tracked.fn, 21) == 42
    assert recorded.flow_runs() == []
    assert recorded.task_runs() == []


def test_a_decorated_function_looks_like_the_function(colour, decorator):
    @decorator
    @colour.paint
    async def double(x: int) -> int:
        """Twice as much."""
        return x * 2

    assert isinstance(double, Flow if decorator is flow else Task)
    assert double.__name__ == "double"
    assert double.__doc__ == "Twice as much."
    assert double.__module__ == __name__


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        ((1, 2), {}, (1, 2, (), 3, {})),
        ((1,), {"b": 5}, (1, 5, (), 3, {})),
        ((1, 2, 7, 8), {"c": 9}, (1, 2, (7, 8), 9, {})),
        ((1, 2), {"d": 4}, (1, 2, (), 3, {"d": 4})),
    ],
)
def test_arguments_arrive_as_in_a_plain_call(colour, decorator, args, kwargs, expected):
    @decorator
    @colour.paint
    async def every(a, /, b, *rest, c=3, **more):
        return a, b, rest, c, more

    assert colour.run(every, *args, **kwargs) == expected


def test_parameters_may_have_the_names_that_the_engine_uses(colour, decorator):
    @decorator
    @colour.paint
    async def every(**given):
        return given

    @decorator
    @colour.paint
    async def some(fn, task, flow, args, kwargs, io, state, parameters):
        return fn, task, flow, args, kwargs, io, state, parameters

    given = {"self": 1, "fn": 2, "task": 3, "args": 4, "kwargs": 5, "receiver": 6, "cls": 7}
    assert colour.run(every, **given) == given
    names = ("fn", "task", "flow", "args", "kwargs", "io", "state", "parameters")
    assert colour.run(some, **{name: name for name in names}) == names


def test_mutable_arguments_are_passed_not_copied(colour, decorator):
    @decorator
    @colour.paint
    async def put(box):
        box.append(1)

    box = []
    colour.run(put, box)
    assert box == [1]


def test_positional_and_keyword_arguments_are_the_recorded_parameters(colour, recorded):
    @flow
    @colour.paint
    async def report(url, depth, *, verbose=False, limit=10):
        return None

    colour.run(report, "http://example.test", depth=3, limit=None)
    assert recorded.flow_run()["parameters"] == {
        "url": "http://example.test",
        "depth": 3,
        "verbose": False,
        "limit": None,
    }


def test_calls_in_a_row_are_runs_of_their_own(colour, decorator, recorded):
    @decorator
    @colour.paint
    async def one():
        return 1

    for _ in range(3):
        assert colour.run(one) == 1
    runs = recorded.flow_runs() if decorator is flow else recorded.task_runs()
    assert len({run["id"] for run in runs}) == 3
    assert {run["state_type"] for run in runs} == {"COMPLETED"}


class AddOne:
    def __call__(self, x):
        return x + 1


@pytest.mark.parametrize(
    "add_one",
    [lambda x: x + 1, AddOne(), functools.partial(lambda y, x: x + y, 1), (1).__add__, functools.cache(AddOne())],
    ids=["lambda", "object", "partial", "builtin", "cached"],
)
def test_whatever_can_be_called_can_be_decorated(decorator, add_one, recorded):
    assert decorator(name="add one")(add_one)(1) == 2
    (run,) = recorded.flow_runs() or recorded.task_runs()
    assert run["state_type"] == "COMPLETED"
