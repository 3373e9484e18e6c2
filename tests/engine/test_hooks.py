"""Hooks: called in order, at the right moment, with what there is to know; their failures are told and harm nothing."""

import asyncio

import pytest

from tidemill import flow, task
from tidemill.exceptions import DefinitionError
from tidemill.states import Cancelled

FAIL = "fail"


@pytest.fixture(params=[flow, task], ids=["flow", "task"])
def decorator(request):
    return request.param


def make(colour, decorator, seen, **options):
    @decorator(**options)
    @colour.paint
    async def hooked(how=None):
        seen.append("body")
        if how == FAIL:
            raise LookupError(how)
        return how

    return hooked


def note(seen, word):
    """A hook that notes a word."""

    def hook(thing, run, state):
        seen.append(word)

    return hook


@pytest.mark.parametrize(("how", "expected"), [(None, "completion"), (FAIL, "failure")])
def test_each_hook_is_called_at_its_moment(colour, decorator, how, expected):
    seen = []
    kinds = ("on_running", "on_completion", "on_failure")
    hooked = make(colour, decorator, seen, **{kind: [note(seen, kind.removeprefix("on_"))] for kind in kinds})
    colour.run(hooked, how, return_state=True)
    assert seen == ["running", "body", expected]


def test_hooks_are_called_in_the_order_given(colour, decorator):
    seen = []
    hooked = make(colour, decorator, seen, on_completion=[note(seen, 1), note(seen, 2)])
    hooked.on_completion(note(seen, 3))
    colour.run(hooked)
    assert seen == ["body", 1, 2, 3]


def test_hooks_as_decorators_stay_usable_functions(colour, decorator):
    seen = []
    hooked = make(colour, decorator, seen)

    @hooked.on_completion
    def told(thing, run, state):
        seen.append((thing.name, state.type.value))

    @hooked.on_failure
    def warned(thing, run, state):
        seen.append((thing.name, state.type.value))

    colour.run(hooked)
    colour.run(hooked, FAIL, return_state=True)
    assert seen == ["body", (hooked.name, "COMPLETED"), "body", (hooked.name, "FAILED")]
    assert callable(told)
    told(hooked, None, colour.run(hooked, return_state=True))


def test_a_hook_is_given_the_thing_its_run_and_its_state(colour, decorator, recorded):
    given = []
    hooked = make(colour, decorator, [], on_completion=[lambda *arguments: given.append(arguments)])
    state = colour.run(hooked, 5, return_state=True)
    ((thing, run, hook_state),) = given
    kept = recorded.flow_run() if decorator is flow else recorded.task_run()
    assert thing is hooked
    assert (run.id, run.name) == (kept["id"], kept["name"])
    assert hook_state.type is state.type
    assert hook_state.result() == 5


@pytest.mark.parametrize("kind", ["on_running", "on_completion", "on_failure"])
def test_async_hooks_are_awaited_and_a_plain_function_takes_none(colour, decorator, kind):
    seen = []
    hooked = make(colour, decorator, seen)

    async def told(thing, run, state):
        await asyncio.sleep(0)
        seen.append("told")

    if colour.is_async:
        assert getattr(hooked, kind)(told) is told
        colour.run(hooked, FAIL if kind == "on_failure" else None, return_state=True)
        assert sorted(seen) == ["body", "told"]
    else:
        with pytest.raises(DefinitionError, match=rf"{kind} of a plain \w+ takes plain functions.*told"):
            getattr(hooked, kind)(told)


@pytest.mark.parametrize("kind", ["on_running", "on_completion", "on_failure"])
def test_a_hook_that_fails_is_told_and_harms_nothing(colour, decorator, kind, recorded, capsys):
    seen = []

    def broken(thing, run, state):
        raise ZeroDivisionError("inside the hook")

    hooked = make(colour, decorator, seen, **{kind: [broken, note(seen, "next")]})
    state = colour.run(hooked, FAIL if kind == "on_failure" else None, return_state=True)
    assert state.is_failed() if kind == "on_failure" else state.is_completed()
    assert sorted(map(str, seen)) == ["body", "next"]
    told = capsys.readouterr().err
    assert "broken" in told
    assert "inside the hook" in told


def test_on_running_is_called_for_every_try(colour, decorator):
    seen = []

    @decorator(retries=1, on_running=[note(seen, "running")])
    @colour.paint
    async def unsteady():
        if len(seen) < 2:
            raise ConnectionError

    colour.run(unsteady)
    assert seen == ["running", "running"]


def test_on_failure_is_called_once_after_the_last_try(colour, decorator):
    seen = []
    hooked = make(colour, decorator, seen, retries=2, on_failure=[note(seen, "failure")])
    colour.run(hooked, FAIL, return_state=True)
    assert seen == ["body", "body", "body", "failure"]


def test_a_cancelled_state_calls_on_cancellation(colour):
    seen = []

    @flow(on_cancellation=[note(seen, "cancellation")], on_failure=[note(seen, "failure")])
    @colour.paint
    async def stopped():
        return Cancelled(message="enough")

    colour.run(stopped, return_state=True)
    assert seen == ["cancellation"]


def test_a_crash_calls_on_crashed(colour, decorator):
    seen = []

    @decorator(on_failure=[note(seen, "failure")])
    @colour.paint
    async def crashing():
        raise SystemExit(3)

    if decorator is flow:
        crashing.on_crashed(note(seen, "crashed"))
    with pytest.raises(SystemExit) as caught:
        colour.run(crashing)
    assert caught.value.code == 3
    assert seen == (["crashed"] if decorator is flow else [])


def test_the_run_is_recorded_before_its_hooks_are_called(colour, recorded):
    states = []

    @flow
    @colour.paint
    async def hooked():
        return 1

    hooked.on_completion(lambda flow, run, state: states.append(recorded.flow_run()["state_type"]))
    colour.run(hooked)
    assert states == ["COMPLETED"]


@pytest.mark.parametrize("hooks", ["not callable", [1]], ids=["a string", "a list of numbers"])
def test_something_that_is_no_hook_is_refused_where_it_is_given(decorator, hooks):
    with pytest.raises(DefinitionError, match="on_completion"):
        decorator(on_completion=hooks)(lambda: 1)
