"""Tags: from the decorator, from the context, from the parent."""

import pytest

from tidemill import flow, tags, task
from tidemill.exceptions import DefinitionError
from tidemill.runtime import flow_run, task_run


def make_task(colour, **options):
    @task(**options)
    @colour.paint
    async def tagged():
        return sorted(task_run.tags)

    return tagged


def test_a_task_carries_its_own_tags(colour, recorded):
    assert colour.run(make_task(colour, tags=["b", "a", "a"])) == ["a", "b"]
    assert sorted(recorded.task_run()["tags"]) == ["a", "b"]


def test_tags_of_the_context_are_added(colour, recorded):
    with tags("c", "a"):
        assert colour.run(make_task(colour, tags=["a", "b"])) == ["a", "b", "c"]
    assert sorted(recorded.task_run()["tags"]) == ["a", "b", "c"]


def test_contexts_nest_and_end(colour):
    tagged = make_task(colour)
    with tags("outer"):
        with tags("inner") as current:
            assert set(current) == {"outer", "inner"}
            assert colour.run(tagged) == ["inner", "outer"]
        assert colour.run(tagged) == ["outer"]
    assert colour.run(tagged) == []


def test_a_context_ends_with_an_exception_too(colour):
    with pytest.raises(LookupError), tags("outer"):
        raise LookupError
    assert colour.run(make_task(colour)) == []


def test_a_flow_run_carries_the_tags_of_the_context_and_passes_them_on(colour, recorded):
    tagged = make_task(colour, tags=["own"])

    @flow
    @colour.paint
    async def parent():
        with tags("inside"):
            return sorted(flow_run.tags), await colour.call(tagged)

    with tags("outside"):
        own, task_tags = colour.run(parent)
    assert own == ["outside"]
    assert task_tags == ["inside", "outside", "own"]
    assert recorded.flow_run()["tags"] == ["outside"]


def test_a_flow_may_have_tags_of_its_own(colour, recorded):
    @flow(tags=["b", "a"])
    @colour.paint
    async def tagged():
        return sorted(flow_run.tags)

    with tags("c"):
        assert colour.run(tagged) == ["a", "b", "c"]
    assert sorted(recorded.flow_run()["tags"]) == ["a", "b", "c"]


@pytest.mark.parametrize("wrong", ["abc", 5], ids=repr)
def test_tags_that_are_no_list_are_refused_where_they_are_given(wrong):
    with pytest.raises(DefinitionError, match="tags"):
        task(tags=wrong)(lambda: 1)
