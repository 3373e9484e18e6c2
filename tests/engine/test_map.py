"""`task.map`: one call for each member, consumed as the calls are made."""

import itertools
import threading

import pytest

from tidemill import TaskRunFuture, TaskRunFutureList, ThreadPoolTaskRunner, allow_failure, flow, quote, task, unmapped
from tidemill.exceptions import DefinitionError


@task
def join(*args, **kwargs):
    return (*args, *sorted(kwargs.items()))


@task
def give(value):
    return value


@task
def one_of(x, y=0):
    return (x, y)


def mapped(*args, **kwargs):
    """The values of a map in a flow."""

    @flow
    def parent():
        return (join.map(*args, **kwargs).result(),)

    return parent()[0]


# What is iterated over


def test_members_are_taken_together():
    assert mapped([1, 2, 3], (4, 5, 6)) == [(1, 4), (2, 5), (3, 6)]


@pytest.mark.parametrize(
    ("members", "taken"),
    [
        (range(3), [0, 1, 2]),
        ((x for x in "ab"), ["a", "b"]),
        ({"a": 1, "b": 2}, ["a", "b"]),
        ({"a": 1}.items(), [("a", 1)]),
        ({7}, [7]),
        (map(str, [1, 2]), ["1", "2"]),
        (enumerate("a"), [(0, "a")]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_iterable_is_iterated_over(members, taken):
    assert mapped(members) == [(each,) for each in taken]


@pytest.mark.parametrize("value", ["text", b"bytes", bytearray(b"more"), 7, None, 1.5, object], ids=repr)
def test_texts_and_what_cannot_be_iterated_over_are_the_same_for_every_call(value):
    assert mapped([1, 2], value) == [(1, value), (2, value)]


@pytest.mark.parametrize("value", [[8, 9], {"a": 1}, "text", (1,), range(3)], ids=repr)
def test_unmapped_is_the_same_for_every_call(value):
    assert mapped([1, 2], unmapped(value)) == [(1, value), (2, value)]


def test_arguments_by_name_are_iterated_over_too():
    assert mapped(x=[1, 2], y=unmapped([3]), z="same") == [
        (("x", 1), ("y", [3]), ("z", "same")),
        (("x", 2), ("y", [3]), ("z", "same")),
    ]


def test_a_default_stays_the_default():
    @flow
    def parent():
        return one_of.map([1, 2]).result(), one_of.map(x=[1], y=[2]).result()

    assert parent() == ([(1, 0), (2, 0)], [(1, 2)])


def test_an_object_that_only_has_getitem_is_not_iterated_over():
    class Sequence:
        def __getitem__(self, index):
            raise AssertionError("nobody asked for members")

    sequence = Sequence()
    assert mapped([1], sequence) == [(1, sequence)]


def test_nested_lists_are_members_as_they_are():
    assert mapped([[1, 2], [3]], unmapped([4])) == [([1, 2], [4]), ([3], [4])]


@pytest.mark.parametrize("empty", [[], (), {}, range(0), iter([])], ids=repr)
def test_nothing_in_it_makes_no_calls(empty, recorded):
    @flow
    def parent():
        futures = join.map(empty, unmapped(1))
        return type(futures).__name__, len(futures), futures.result()

    assert parent() == ("TaskRunFutureList", 0, [])
    assert recorded.task_runs() == []


def test_a_map_of_nothing_is_done_at_once():
    @flow
    def parent():
        futures = give.map([])
        futures.wait()
        return give.map(futures).result()

    assert parent() == []


# What is wrong


@pytest.mark.parametrize("args", [(), (1,), ("text",), (None, 2.5), (unmapped([1, 2]),)], ids=repr)
def test_nothing_to_iterate_over_is_an_error_that_says_what_to_do(args, recorded):
    @flow
    def parent():
        with pytest.raises(DefinitionError, match=r"join\.map\(\) has no argument to iterate over.*join\.submit\(\)"):
            join.map(*args)
        return 1

    parent()
    assert recorded.task_runs() == []


def test_different_lengths_are_an_error_before_anything_runs(recorded):
    @flow
    def parent():
        with pytest.raises(DefinitionError, match=r"different lengths: 2, 3\..*unmapped"):
            join.map([1, 2], [1, 2, 3])
        return 1

    parent()
    assert recorded.task_runs() == []


def test_generators_of_different_lengths_are_an_error_where_the_shorter_ends(recorded):
    @flow
    def parent():
        with pytest.raises(DefinitionError, match="one ended before another"):
            join.map((x for x in range(3)), (x for x in range(5)))
        return 1

    parent()
    assert len(recorded.task_runs()) == 3


def test_a_generator_shorter_than_a_list_is_an_error():
    @flow
    def parent():
        with pytest.raises(DefinitionError, match="one ended before another"):
            join.map([1, 2, 3], (x for x in range(2)))
        return 1

    parent()


def test_an_endless_iterable_beside_a_finite_one_is_an_error():
    @flow
    def parent():
        with pytest.raises(DefinitionError, match="one ended before another"):
            join.map([1, 2], itertools.count())
        return 1

    parent()


def test_an_iterable_that_raises_raises_there_and_what_was_submitted_goes_on(recorded):
    def broken():
        yield 1
        yield 2
        raise LookupError("no third")

    @flow
    def parent():
        with pytest.raises(LookupError, match="no third"):
            give.map(broken())
        return 1

    parent()
    assert [run["state_type"] for run in recorded.task_runs()] == ["COMPLETED"] * 2


def test_an_argument_the_task_does_not_have(recorded):
    @flow
    def parent():
        with pytest.raises(TypeError, match="'z'"):
            one_of.map([1], z=[2])
        return 1

    parent()
    assert recorded.task_runs() == []


# Futures


def test_a_list_of_futures_is_a_list_of_members():
    @flow
    def parent():
        return join.map(give.map([1, 2]), [give.submit(3), 4]).result()

    assert parent() == [(1, 3), (2, 4)]


def test_a_future_of_a_list_is_waited_for_and_iterated_over():
    @flow
    def parent():
        return join.map(give.submit([1, 2]), give.submit("same")).result()

    assert parent() == [(1, "same"), (2, "same")]


def test_an_unmapped_future_is_an_argument_of_every_call():
    @flow
    def parent():
        return join.map([1, 2], unmapped(give.submit([3]))).result()

    assert parent() == [(1, [3]), (2, [3])]


def test_a_failed_future_of_a_list_raises_its_error():
    @task
    def fail():
        raise LookupError("no list")

    @flow
    def parent():
        with pytest.raises(LookupError, match="no list"):
            join.map(fail.submit())
        return 1

    parent()


def test_failed_members_keep_only_their_own_calls_from_starting():
    @task
    def invert(x):
        return 1 / x

    @flow
    def parent():
        futures = give.map(invert.map([1, 0]))
        futures.wait()
        return [future.state.name for future in futures]

    assert parent() == ["Completed", "NotReady"]


def test_allow_failure_around_the_members():
    @task
    def invert(x):
        return 1 / x

    @flow
    def parent():
        return [repr(value) for value in give.map(allow_failure(invert.map([1, 0]))).result()]

    assert parent() == ["1.0", "ZeroDivisionError('division by zero')"]


def test_quote_is_the_same_for_every_call():
    assert mapped([1, 2], quote([3, 4])) == [(1, [3, 4]), (2, [3, 4])]


def test_all_wait_for_what_is_to_be_done_first():
    order = []

    @task
    def note(x):
        order.append(x)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
    def parent():
        first = note.submit("first")
        note.map([1, 2, 3], wait_for=(one for one in [first])).wait()

    parent()
    assert (order[0], sorted(order[1:])) == ("first", [1, 2, 3])


# Many


def test_the_futures_are_a_list_in_the_order_of_the_members():
    @flow
    def parent():
        futures = give.map(range(50))
        assert isinstance(futures, TaskRunFutureList)
        assert isinstance(futures, list)
        assert all(isinstance(future, TaskRunFuture) for future in futures)
        return [future.result() for future in reversed(futures)]

    assert parent() == list(range(49, -1, -1))


def test_a_generator_is_consumed_as_the_calls_are_made():
    """The task of a member starts before the next but some thousands is looked at."""
    consumed, ended, furthest = 0, 0, 0
    lock = threading.Lock()

    def members():
        nonlocal consumed, furthest
        for x in range(8_000):
            consumed += 1
            with lock:
                furthest = max(furthest, consumed - ended)
            yield x

    @task(log_prints=False)
    def step(x):
        nonlocal ended
        with lock:
            ended += 1
        return x

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
    def parent():
        return sum(step.map(members()).result())

    assert parent() == sum(range(8_000))
    assert consumed == 8_000
    assert furthest <= 5_000


def test_nothing_is_consumed_ahead_while_no_call_ends(wait_until):
    """While every worker is stuck, an endless iterable is looked at for some thousands of members, no further."""
    consumed, stop = 0, threading.Event()
    go = threading.Event()

    def members():
        nonlocal consumed
        while not stop.is_set():
            consumed += 1
            yield consumed

    @task
    def stuck(x):
        go.wait(60)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def parent():
        stuck.map(members())

    thread = threading.Thread(target=parent)
    thread.start()
    try:
        wait_until(lambda: consumed > 1000)
        previous = -1
        while previous != consumed:  # until it rests
            previous = consumed
            threading.Event().wait(0.5)
        assert consumed <= 5_000
    finally:
        stop.set()
        go.set()
        thread.join(60)
    assert not thread.is_alive()


def test_a_map_inside_a_mapped_task():
    @task
    def row(n):
        return give.map(range(n)).result()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
    def parent():
        return row.map([0, 1, 3]).result()

    assert parent() == [[], [0], [0, 1, 2]]


def test_outside_a_flow():
    assert give.map([1, 2]).result() == [1, 2]
