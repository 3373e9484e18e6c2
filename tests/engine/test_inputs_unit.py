"""Where inputs come from, by identity, and how the inputs of a call are recognised later."""

import gc
import json
import pickle
import weakref

import pytest

from tidemill.engine.inputs import NOTHING_TRACKED, TrackedResults, input_hash, task_inputs
from tidemill.states import Completed, StateDetails


class Thing:
    pass


class Cannot:
    def __reduce__(self):
        raise RuntimeError


def text(*parts):
    """A text that is an object of its own."""
    return "".join(parts)


@pytest.fixture
def tracked():
    return TrackedResults()


@pytest.mark.parametrize(
    "value", [[1, 2], {"a": 1}, (1000, 2000), text("two", "words"), 10**6, 2.5, Thing(), b"bytes"], ids=repr
)
def test_the_run_that_gave_an_object_is_known(tracked, value):
    tracked.add(value, "run")
    assert tracked.source_of(value) == "run"


def test_an_equal_object_is_another_one(tracked):
    tracked.add([1, 2], "run")
    assert tracked.source_of([1, 2]) is None


@pytest.mark.parametrize("value", [None, True, False, ..., NotImplemented, 0, 7, 256, -5, "", "a", b"", b"x", int], ids=repr)
def test_what_python_keeps_one_copy_of_proves_nothing(tracked, value):
    tracked.add(value, "run")
    assert tracked.source_of(value) is None
    assert tracked.sources_in([value]) == []


def test_the_last_run_that_gave_it_counts(tracked):
    value = [1]
    tracked.add(value, "first")
    tracked.add(value, "second")
    assert tracked.source_of(value) == "second"


@pytest.mark.parametrize("container", [list, tuple, lambda members: dict(enumerate(members))])
def test_the_members_of_a_short_container_are_known_too(tracked, container):
    members = [Thing(), [1]]
    tracked.add(container(members), "run")
    assert [tracked.source_of(member) for member in members] == ["run", "run"]


def test_the_members_of_a_long_container_are_not(tracked):
    members = [Thing() for _ in range(101)]
    tracked.add(members, "run")
    assert tracked.source_of(members) == "run"
    assert tracked.source_of(members[0]) is None


def test_an_argument_made_of_results_leads_to_all_of_their_runs(tracked):
    one, two = Thing(), [1]
    tracked.add(one, "one")
    tracked.add(two, "two")
    assert sorted(tracked.sources_in({"a": [one, (two, one)], "b": 3})) == ["one", "two"]


def test_a_result_that_is_a_container_leads_to_its_run_only(tracked):
    inner = Thing()
    tracked.add(inner, "inner")
    outer = [inner]
    tracked.add(outer, "outer")
    assert tracked.sources_in(outer) == ["outer"]


def test_a_state_leads_to_its_run(tracked):
    state = Completed(data=1)
    state.state_details = StateDetails(task_run_id="run")
    assert tracked.sources_in([state]) == ["run"]


def test_a_result_is_not_kept_alive_where_it_need_not_be(tracked):
    value = Thing()
    gone = weakref.ref(value)
    tracked.add(value, "run")
    del value
    gc.collect()
    assert gone() is None


def test_results_that_nobody_holds_any_more_are_let_go(tracked):
    class Counted(list):
        __slots__ = ()
        alive = 0

        def __init__(self):
            Counted.alive += 1

        def __del__(self):
            Counted.alive -= 1

    for _ in range(10_000):
        tracked.add((Counted(),), "run")
    assert Counted.alive < 1_000


@pytest.mark.parametrize("make", [lambda: [1], lambda: {"a": 1}, lambda: (1000, 2), lambda: text("two", "words"), Thing])
def test_a_result_that_somebody_still_holds_is_not_forgotten(tracked, make):
    value = make()
    tracked.add(value, "run")
    for n in range(1_000):
        tracked.add([n], "other")
    assert tracked.source_of(value) == "run"


def test_an_object_in_the_place_of_one_that_died_is_not_mistaken_for_it(tracked):
    for _ in range(200):
        tracked.add(Thing(), "run")
        assert tracked.source_of(Thing()) is None


def test_inputs_are_listed_by_parameter(tracked):
    value = Thing()
    tracked.add(value, "run")
    assert json.loads(task_inputs({"x": value, "y": 2}, tracked, None)) == {
        "x": [{"input_type": "task_run", "id": "run"}],
        "y": [],
    }


def test_the_task_run_around_is_a_parent():
    inputs = json.loads(task_inputs({"x": 1}, NOTHING_TRACKED, "around"))
    assert inputs == {"x": [], "__parents__": [{"input_type": "task_run", "id": "around"}]}


@pytest.mark.parametrize("names", [(), ("x",), ("y", "x"), ("x", "y")])
def test_inputs_that_come_from_no_run_are_empty_lists_in_their_order(names):
    assert task_inputs(dict.fromkeys(names, 1), NOTHING_TRACKED, None) == json.dumps({name: [] for name in names}).replace(
        " ", ""
    )


DIFFERENT = [
    *({}, {"x": 1}, {"x": 2}, {"y": 1}, {"x": "1"}, {"x": True}, {"x": 1.0}, {"x": None}, {"x": [1]}, {"x": (1,)}),
    *({"x": {"a": 1}}, {"x": "a" * 5_000}, {"x": "a" * 4_999 + "b"}, {"x": b"a" * 5_000}, {"x": 1, "y": 1}),
]


def test_different_inputs_have_different_hashes():
    assert len({input_hash(parameters, NOTHING_TRACKED) for parameters in DIFFERENT}) == len(DIFFERENT)


@pytest.mark.parametrize("parameters", DIFFERENT, ids=lambda parameters: repr(parameters)[:30])
def test_equal_inputs_have_equal_hashes(parameters):
    again = pickle.loads(pickle.dumps(parameters))
    assert input_hash(parameters, TrackedResults()) == input_hash(again, TrackedResults())


def test_a_large_result_of_a_run_is_recognised_by_that_run(tracked):
    value = [0] * 1_000
    other = [0] * 1_000
    tracked.add(value, "run")
    tracked.add(other, "another run")
    known = input_hash({"x": value}, tracked)
    assert known != input_hash({"x": other}, tracked)
    value.append(1)
    assert input_hash({"x": value}, tracked) == known


def test_a_small_result_is_recognised_by_itself(tracked):
    value = text("two", "words")
    tracked.add(value, "run")
    assert input_hash({"x": value}, tracked) == input_hash({"x": "twowords"}, NOTHING_TRACKED)


def test_what_cannot_be_pickled_is_recognised_by_its_type():
    assert input_hash({"x": Cannot()}, NOTHING_TRACKED) == input_hash({"x": Cannot()}, NOTHING_TRACKED)
    assert input_hash({"x": Cannot()}, NOTHING_TRACKED) != input_hash({"x": (n for n in ())}, NOTHING_TRACKED)


def test_a_value_that_holds_itself_has_a_hash():
    value = []
    value.append(value)
    assert len(input_hash({"x": value}, NOTHING_TRACKED)) == 32
