"""The options of @flow and @task, and copies made with other options."""

import pytest

from tidemill import Flow, Task, flow, task


@pytest.mark.parametrize(("decorator", "kind"), [(flow, Flow), (task, Task)])
def test_decorators_work_with_and_without_parentheses(colour, decorator, kind):
    @colour.paint
    async def one():
        return 1

    for decorated in (decorator(one), decorator()(one), decorator(name="other")(one)):
        assert isinstance(decorated, kind)
        assert colour.run(decorated) == 1


@pytest.mark.parametrize("decorator", [flow, task])
def test_the_description_is_the_docstring_unless_given(decorator):
    def documented():
        """What it does.

        And how.
        """

    assert decorator(documented).description == "What it does.\n\nAnd how."
    assert decorator(description="Other.")(documented).description == "Other."
    assert decorator(lambda: 1).description is None


@pytest.mark.parametrize("decorator", [flow, task])
def test_the_version_is_as_given(decorator, recorded):
    @decorator(version="7.1")
    def versioned():
        return 1

    assert versioned.version == "7.1"
    versioned()
    run, field = (recorded.flow_run(), "flow_version") if decorator is flow else (recorded.task_run(), "task_version")
    assert run[field] == "7.1"


@pytest.mark.parametrize("decorator", [flow, task])
def test_with_options_makes_a_copy_and_leaves_the_original(colour, decorator):
    @decorator(name="first", description="First.", version="1", timeout_seconds=60, log_prints=True)
    @colour.paint
    async def original():
        return 1

    copy = original.with_options(name="second", timeout_seconds=5)
    assert (copy.name, copy.timeout_seconds) == ("second", 5)
    assert (copy.description, copy.version, copy.log_prints) == ("First.", "1", True)
    assert (original.name, original.timeout_seconds) == ("first", 60)
    assert type(copy) is type(original)
    assert copy.fn is original.fn
    assert colour.run(copy) == colour.run(original) == 1


def test_with_options_of_a_task_replaces_tags():
    @task(tags={"a"})
    def tagged():
        return 1

    assert set(tagged.with_options(tags=["b", "c"]).tags) == {"b", "c"}
    assert set(tagged.tags) == {"a"}
    assert set(tagged.with_options(name="x").tags) == {"a"}


def test_with_options_can_take_a_limit_away(colour):
    tries = []

    @task(timeout_seconds=5, retries=3)
    @colour.paint
    async def limited():
        tries.append(1)
        raise ConnectionError

    free = limited.with_options(timeout_seconds=None, retries=None)
    assert free.timeout_seconds is None
    assert limited.timeout_seconds == 5
    colour.run(free, return_state=True)
    assert len(tries) == 1


def test_with_options_keeps_hooks_and_can_replace_them(colour):
    seen = []

    def first(task, task_run, state):
        seen.append("first")

    def second(task, task_run, state):
        seen.append("second")

    @task(on_completion=[first])
    @colour.paint
    async def hooked():
        return 1

    colour.run(hooked.with_options(name="kept"))
    colour.run(hooked.with_options(on_completion=[second]))
    colour.run(hooked)
    assert seen == ["first", "second", "first"]


def test_hooks_added_to_a_copy_do_not_reach_the_original(colour):
    seen = []

    @flow
    @colour.paint
    async def hooked():
        return 1

    copy = hooked.with_options(name="copy")
    copy.on_completion(lambda flow, flow_run, state: seen.append(flow.name))
    colour.run(hooked)
    assert seen == []
    colour.run(copy)
    assert seen == ["copy"]


def test_retry_options_are_recorded_with_the_run(recorded):
    @task(retries=3, retry_delay_seconds=[1, 2, 4])
    def stubborn():
        return 1

    @flow(retries=2, retry_delay_seconds=0.5)
    def parent():
        return stubborn()

    parent()
    policy = recorded.flow_run()["empirical_policy"]
    assert (policy["retries"], policy["retry_delay"]) == (2, 0.5)
    policy = recorded.task_run()["empirical_policy"]
    assert (policy["retries"], policy["retry_delay"]) == (3, [1, 2, 4])
