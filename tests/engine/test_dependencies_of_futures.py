"""Futures in arguments: where they are found, what is put in their place, and what is recorded of where it came from."""

import collections
import dataclasses
import types
import typing

import pytest

from tidemill import allow_failure, flow, quote, task, unmapped


@pytest.fixture
def make():
    """Two tasks: one gives what it is told, one takes anything."""

    @task
    def give(value):
        return value

    @task
    def take(x=None, y=None):
        return x

    return give, take


def taken(make, wrap, value=7):
    """What a task takes that is given a future inside of something, and what the flow passed."""
    give, take = make

    @flow
    def parent():
        passed = wrap(give.submit(value))
        return [take.submit(passed).result(), passed]

    return parent()


class Pair(typing.NamedTuple):
    left: object
    right: object


@dataclasses.dataclass
class Base:
    held: object
    derived: object = dataclasses.field(init=False, default=1)

    def __post_init__(self):
        self.derived = "made by __post_init__"


@dataclasses.dataclass(frozen=True)
class Frozen:
    held: object


@dataclasses.dataclass(slots=True, kw_only=True)
class Slotted:
    held: object


class TestWhereTheyAreFound:
    @pytest.mark.parametrize("kind", [list, tuple, set, frozenset])
    def test_collections_keep_their_kind(self, make, kind):
        value, passed = taken(make, lambda future: kind([future]))
        assert value == kind([7])
        assert type(value) is kind
        assert type(next(iter(passed))).__name__ == "TaskRunFuture"

    def test_values_of_a_dict(self, make):
        value, _ = taken(make, lambda future: {"a": future, 2: [future], None: 1})
        assert value == {"a": 7, 2: [7], None: 1}
        assert list(value) == ["a", 2, None]

    def test_a_named_tuple(self, make):
        value, _ = taken(make, lambda future: Pair(future, [future]))
        assert value == Pair(7, [7])
        assert type(value) is Pair

    def test_a_dataclass_keeps_what_it_computed(self, make):
        value, passed = taken(make, Base)
        assert (type(value), value.held, value.derived) == (Base, 7, "made by __post_init__")
        assert value is not passed
        assert passed.held is not value.held

    @pytest.mark.parametrize("kind", [Frozen, lambda future: Slotted(held=future)], ids=["frozen", "slots"])
    def test_dataclasses_of_other_kinds(self, make, kind):
        value, _ = taken(make, kind)
        assert value.held == 7

    def test_deep_inside(self, make):
        def wrap(future):
            value = future
            for _ in range(200):
                value = [value]
            return value

        value, _ = taken(make, wrap)
        for _ in range(200):
            (value,) = value
        assert value == 7

    def test_annotations_nest(self, make):
        value, _ = taken(make, lambda future: allow_failure([allow_failure(future), unmapped(future)]))
        assert value == [7, 7]

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda future: types.SimpleNamespace(held=future),
            lambda future: collections.deque([future]),
            lambda future: quote([future]),
            lambda future: (each for each in [future]),
        ],
        ids=["object", "deque", "quote", "generator"],
    )
    def test_elsewhere_they_stay_futures(self, make, wrap):
        value, _ = taken(make, wrap)
        inner = value.held if isinstance(value, types.SimpleNamespace) else next(iter(value))
        assert type(inner).__name__ == "TaskRunFuture"

    def test_what_holds_no_future_is_passed_as_it_is(self, make):
        give, take = make
        value = [1, {"a": Base(2)}]

        @flow
        def parent():
            return [take.submit(value).result() is value, take.submit(value, y=give.submit(1)).result() is value]

        assert parent() == [True, True]

    def test_a_list_that_holds_itself(self, make):
        give, take = make

        @flow
        def parent():
            circle = [1]
            circle.append(circle)
            value = take.submit(circle, y=give.submit(1)).result()
            return [value is circle]

        assert parent() == [True]

    def test_a_value_that_is_a_future_of_another_flow_is_left(self, make):
        """A task may return a future; it is then a value like any other."""
        give, _ = make
        kept = []

        @task
        def hand_out():
            return quote(kept[0]).value

        @flow
        def parent():
            kept.append(give.submit(1))
            return [hand_out.submit().result() is kept[0]]

        assert parent() == [True]

    def test_many_futures_in_one_argument(self, make):
        give, _ = make

        @task
        def total(values):
            return sum(values)

        @flow
        def parent():
            return total.submit(give.map(range(1000))).result()

        assert parent() == sum(range(1000))

    def test_the_futures_of_a_map_as_an_argument_are_a_plain_list_of_values(self, make):
        give, take = make

        @flow
        def parent():
            return take.submit(give.map([1, 2])).result(), take.submit({"all": give.map([3])}).result()

        assert parent() == ([1, 2], {"all": [3]})

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda future: collections.OrderedDict(a=future),
            lambda future: collections.defaultdict(list, a=future),
            lambda future: type("Mapping", (dict,), {})(a=future),
        ],
        ids=["OrderedDict", "defaultdict", "own subclass"],
    )
    def test_dicts_of_other_classes(self, make, wrap):
        value, passed = taken(make, wrap)
        assert value == {"a": 7}
        assert type(value) is type(passed)


class TestWhatIsRecorded:
    def test_each_argument_leads_back_to_its_run(self, recorded, make):
        give, take = make

        @flow
        def parent():
            take.submit(give.submit(5), y=3)

        parent()
        taking = recorded.task_run("take")
        assert recorded.sources(taking, "x") == [("task_run", recorded.task_run("give")["id"])]
        assert taking["task_inputs"]["y"] == []

    @pytest.mark.parametrize(
        "wrap",
        [lambda f: [f, 1], lambda f: {"a": (f,)}, allow_failure, lambda f: allow_failure([f])],
        ids=["list", "nested", "allow_failure", "allow_failure around a list"],
    )
    def test_wherever_it_is(self, recorded, make, wrap):
        give, take = make

        @flow
        def parent():
            take.submit(wrap(give.submit(5)))

        parent()
        assert recorded.sources(recorded.task_run("take"), "x") == [("task_run", recorded.task_run("give")["id"])]

    def test_the_value_that_came_from_a_future_leads_back_when_passed_on(self, recorded, make):
        give, take = make

        @flow
        def parent():
            value = give.submit({"a": [1]}).result()
            take(value)

        parent()
        assert recorded.sources(recorded.task_run("take"), "x") == [("task_run", recorded.task_run("give")["id"])]

    def test_what_is_only_waited_for_is_recorded_apart(self, recorded, make):
        give, take = make

        @flow
        def parent():
            take.submit(1, wait_for=[give.submit(5)])

        parent()
        taking = recorded.task_run("take")
        assert recorded.sources(taking, "wait_for") == [("task_run", recorded.task_run("give")["id"])]
        assert taking["task_inputs"]["x"] == []

    def test_of_a_failed_upstream_too(self, recorded, make):
        _, take = make

        @task
        def fail():
            raise LookupError

        @flow
        def parent():
            take.submit(fail.submit())
            return 1

        parent()
        assert recorded.sources(recorded.task_run("take"), "x") == [("task_run", recorded.task_run("fail")["id"])]

    def test_the_message_names_some_and_counts_the_others(self, recorded, make):
        _, take = make

        @task
        def fail(x):
            raise LookupError

        @flow
        def parent():
            take.submit(fail.map(range(5)))
            return 1

        parent()
        message = recorded.task_run("take")["state"]["message"]
        assert message.count("fail-") == 3
        assert message.endswith("and 2 more did not reach a 'COMPLETED' state.")

    def test_a_subflow_leads_back_too(self, recorded, make):
        give, _ = make

        @flow
        def below(x):
            return x

        @flow
        def parent():
            return below(give.submit(5))

        assert parent() == 5
        link = recorded.flow_run(flow="below")["parent_task_run_id"]
        (stand_in,) = (run for run in recorded.task_runs() if run["id"] == link)
        assert recorded.sources(stand_in, "x") == [("task_run", recorded.task_run("give")["id"])]
