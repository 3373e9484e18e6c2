"""How flows, tasks and their runs are named."""

import hashlib
import re

import pytest

from tidemill import flow, task
from tidemill.runtime import flow_run, task_run

TWO_WORDS = re.compile(r"[a-z]+-[a-z]+")


def first_eight(fn):
    """What a task run's name carries of its function: the md5 of module and qualified name."""
    return hashlib.md5(f"{fn.__module__}.{fn.__qualname__}".encode()).hexdigest()[:8]


def test_a_flow_is_named_after_its_function_with_dashes(colour):
    @flow
    @colour.paint
    async def my_add_one_flow():
        return 1

    assert my_add_one_flow.name == "my-add-one-flow"


def test_a_task_is_named_after_its_function(colour):
    @task
    @colour.paint
    async def add_one(x):
        return x + 1

    assert add_one.name == "add_one"


def test_given_names_are_used_as_they_are(colour, recorded):
    @task(name="cat url")
    @colour.paint
    async def fetch():
        return task_run.name

    @flow(name="Cat Facts_v2")
    @colour.paint
    async def facts():
        return await colour.call(fetch)

    assert facts.name == "Cat Facts_v2"
    assert fetch.name == "cat url"
    assert colour.run(facts) == f"cat url-{first_eight(fetch.fn)}-0"
    assert recorded.flow_run()["flow_name"] == "Cat Facts_v2"


def test_a_flow_run_is_named_by_two_words(colour, recorded):
    @flow
    @colour.paint
    async def named():
        return flow_run.name

    name = colour.run(named)
    assert TWO_WORDS.fullmatch(name)
    assert recorded.flow_run()["name"] == name


def test_a_task_run_is_named_by_task_hash_and_counter(colour, recorded):
    @task
    @colour.paint
    async def one():
        return task_run.name

    @task
    @colour.paint
    async def two():
        return task_run.name

    @flow
    @colour.paint
    async def parent():
        return [await colour.call(fn) for fn in (one, two, one, one)]

    expected = [f"{fn.name}-{first_eight(fn.fn)}-{n}" for fn, n in ((one, 0), (two, 0), (one, 1), (one, 2))]
    assert colour.run(parent) == expected
    assert sorted(run["name"] for run in recorded.task_runs()) == sorted(expected)


def test_the_counter_starts_anew_in_each_flow_run(colour):
    @task
    @colour.paint
    async def counted():
        return task_run.name

    @flow
    @colour.paint
    async def parent():
        return await colour.call(counted)

    assert colour.run(parent) == colour.run(parent)


def test_the_counter_is_shared_by_copies_made_with_options(colour):
    @task
    @colour.paint
    async def counted():
        return task_run.name

    @flow
    @colour.paint
    async def parent():
        copy = counted.with_options(retries=1)
        return [await colour.call(counted), await colour.call(copy), await colour.call(counted)]

    assert [name.rsplit("-", 1)[1] for name in colour.run(parent)] == ["0", "1", "2"]


def test_flow_run_name_is_a_template_over_the_parameters(colour, recorded):
    @flow(flow_run_name="{city}-{day:03d}")
    @colour.paint
    async def report(city, day=7):
        return flow_run.name

    assert colour.run(report, "ulm") == "ulm-007"
    assert recorded.flow_run()["name"] == "ulm-007"


def test_task_run_name_is_a_template_over_the_parameters(colour, recorded):
    @task(task_run_name="add {x} and {y}")
    @colour.paint
    async def add(x, y=2):
        return task_run.name

    @flow
    @colour.paint
    async def parent():
        return await colour.call(add, 1)

    assert colour.run(parent) == "add 1 and 2"
    assert [run["name"] for run in recorded.task_runs()] == ["add 1 and 2"]


def test_run_names_can_come_from_callables(colour):
    @task(task_run_name=lambda: "third")
    @colour.paint
    async def numbered():
        return task_run.name

    @flow(flow_run_name=lambda: "first-of-all")
    @colour.paint
    async def parent():
        return flow_run.name, await colour.call(numbered)

    assert colour.run(parent) == ("first-of-all", "third")


def test_a_callable_for_a_flow_run_name_sees_the_run(colour):
    @flow(flow_run_name=lambda: f"{flow_run.flow_name} of {flow_run.parameters['day']}")
    @colour.paint
    async def report(day):
        return flow_run.name

    assert colour.run(report, "monday") == "report of monday"


def test_a_template_that_names_no_parameter_fails_the_run_and_says_which(colour):
    @flow(flow_run_name="{town}")
    @colour.paint
    async def report(city):
        return 1

    with pytest.raises(Exception, match="town"):
        colour.run(report, "ulm")


@pytest.mark.parametrize("character", "/%&><")
def test_a_forbidden_character_is_refused_where_the_name_is_given(character):
    from tidemill.exceptions import InvalidNameError

    for decorator in (flow, task):
        with pytest.raises(InvalidNameError, match=re.escape(character)):
            decorator(name=f"this{character}that")(lambda: None)
