"""The kept results that a next attempt takes: the same value or, where there is none, the task is executed again."""

import dataclasses
import datetime
import decimal
import threading

import pytest

from tidemill import settings, task

LARGE = "x" * 100_000


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Colour(str):
    """A text that is not quite one."""


@pytest.fixture
def results(home):
    """The files of the results."""
    return lambda: sorted(path for path in (home / "results").rglob("*") if path.is_file())


@pytest.fixture
def gives(colour, executed, fails_once):
    """A flow that failed after its one task, and on the next call gives what that gave; and how often it was executed."""

    def make(function, **options):
        @task(**options)
        @colour.paint
        async def source():
            executed.append("source")
            return function()

        async def body():
            return [await colour.call(source)]

        return fails_once(body), executed

    return make


def warnings(recorded):
    return [line["message"] for line in recorded.logs() if line["level"] == 30]


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        float("-inf"),
        2**70,
        (1, "two", b"three"),
        {1: {2, 3}},
        Point(1, 2),
        Colour("red"),
        datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC),
        datetime.timedelta(days=-1),
        decimal.Decimal("1.10"),
        LARGE,
        [Point(n, n) for n in range(3000)],
        ValueError,
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_kept_result_is_the_same_value(colour, gives, value):
    resumed, executed = gives(lambda: value)
    (again,) = colour.run(resumed)
    assert again == value
    assert type(again) is type(value)
    assert executed == ["source"]


def test_a_missing_file_is_executed_again_with_a_warning(colour, gives, results, recorded):
    resumed, executed = gives(lambda: LARGE)
    (file,) = results()
    file.unlink()
    assert colour.run(resumed) == [LARGE]
    assert executed == ["source"] * 2
    (warning,) = warnings(recorded)
    assert "had finished, but is executed again" in warning
    assert str(file) in warning


@pytest.mark.parametrize("damage", ["cut short", "emptied", "one bit", "other bytes", "a folder"])
def test_a_damaged_file_is_never_a_value(colour, gives, results, recorded, damage):
    resumed, executed = gives(lambda: [LARGE, 1])
    (file,) = results()
    data = file.read_bytes()
    file.unlink()
    if damage == "a folder":
        file.mkdir()
    else:
        middle = len(data) // 2
        one_bit = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        file.write_bytes({"cut short": data[:-1], "emptied": b"", "one bit": one_bit, "other bytes": b"[1]"}[damage])
    assert colour.run(resumed) == [[LARGE, 1]]
    assert executed == ["source"] * 2
    (warning,) = warnings(recorded)
    assert "executed again" in warning


def test_what_was_executed_again_is_kept_again(colour, gives, results, recorded):
    resumed, _ = gives(lambda: LARGE)
    results()[0].unlink()
    colour.run(resumed)
    run = recorded.task_run()
    assert (run["state_type"], run["run_count"]) == ("COMPLETED", 2)
    assert len(results()) == 2  # of the task and of the flow


def test_what_cannot_be_kept_is_executed_again_and_that_is_said_once(colour, define, executed, fails_once, recorded):
    lock = define("lock", threading.Lock)

    async def body():
        return len([await colour.call(lock) for _ in range(3)])

    assert colour.run(fails_once(body)) == 3
    assert executed == [("lock",)] * 6
    said = warnings(recorded)
    assert len(said) == 2, said
    assert all("is not kept" in line and "executed again" in line for line in said)


def test_what_is_too_large_is_executed_again(colour, gives):
    with settings.using(results_size_limit=50_000):
        resumed, executed = gives(lambda: LARGE)
        assert colour.run(resumed) == [LARGE]
    assert executed == ["source"] * 2


def test_what_follows_from_a_result_that_was_lost_is_kept_if_it_is_the_same(colour, define, executed, fails_once, results):
    source = define("source", lambda: [LARGE])
    sink = define("sink", lambda value: len(value[0]))

    async def body():
        return await colour.call(sink, await colour.call(source))

    resumed = fails_once(body)
    results()[0].unlink()
    assert colour.run(resumed) == 100_000
    assert [name for name, *_ in executed] == ["source", "sink", "source"]


def test_a_result_changed_after_it_was_given_is_the_one_that_was_given(colour, define, fails_once):
    numbers = define("numbers", lambda: [1, 2, 3])

    async def body():
        values = await colour.call(numbers)
        values.append(4)
        return values

    assert colour.run(fails_once(body)) == [1, 2, 3, 4]


def test_a_generator_task_is_executed_again(colour, executed, fails_once):
    @task
    def lines():
        executed.append("lines")
        yield from "abc"

    async def body():
        return "".join(lines())

    assert colour.run(fails_once(body)) == "abc"
    assert executed == ["lines"] * 2


def test_large_inputs_are_recognised(colour, executed, fails_once):
    @task
    @colour.paint
    async def size(text):
        executed.append(len(text))
        return len(text)

    async def body():
        return [await colour.call(size, LARGE * n) for n in range(3)]

    assert colour.run(fails_once(body)) == [0, 100_000, 200_000]
    assert executed == [0, 100_000, 200_000]
