"""Cached tasks: when an earlier result is used, what is recorded of it, and what the user is told."""

import datetime
import os
import threading

import pytest

from tidemill import ProcessPoolTaskRunner, ThreadPoolTaskRunner, flow, task
from tidemill.caching import INPUTS, NO_CACHE, RUN_ID, TASK_SOURCE
from tidemill.exceptions import SerializationError
from tidemill.settings import using
from tidemill.testing import travel

SERIALIZABLE = INPUTS.configure(isolation_level="SERIALIZABLE")


@pytest.fixture
def counted(tmp_path):
    """Makes a body that counts its calls in a file, so that those in other processes count too."""
    place = str(tmp_path / "calls")

    class Counted:
        def note(self, what=""):
            with open(place, "a") as file:
                file.write(f"{what}\n")

        def __call__(self):
            try:
                with open(place) as file:
                    return len(file.readlines())
            except FileNotFoundError:
                return 0

    return Counted()


@pytest.fixture
def double(colour, counted):
    """Makes a cached task."""

    def make(**options):
        options.setdefault("cache_policy", INPUTS)

        @colour.paint
        async def double(x):
            counted.note()
            return x * 2

        return task(**options)(double)

    return make


def called(colour, each, *values, **options):
    """Calls a task with each of the values, in a flow run of its own, and gives what it gave."""

    @flow(**options)
    @colour.paint
    async def parent():
        return [await colour.call(each, value) for value in values]

    return colour.run(parent)


def test_the_second_call_uses_the_first_result(colour, double, counted, recorded):
    each = double()
    assert called(colour, each, 1, 1, 2) == [2, 2, 4]
    assert counted() == 2
    runs = sorted(recorded.task_runs(), key=lambda run: run["id"])
    assert [(run["state_type"], run["state_name"]) for run in runs] == [
        ("COMPLETED", "Completed"),
        ("COMPLETED", "Cached"),
        ("COMPLETED", "Completed"),
    ]
    assert runs[0]["cache_key"] == runs[1]["cache_key"] != runs[2]["cache_key"]
    assert [state["name"] for state in recorded.states(runs[1])] == ["Pending", "Cached"]


def test_another_flow_run_uses_it_too(colour, double, counted):
    each = double()
    assert called(colour, each, 1) == called(colour, each, 1) == [2]
    assert counted() == 1


def test_outside_a_flow(colour, double, counted, recorded):
    each = double()
    assert colour.run(each, 1) == colour.run(each, 1) == 2
    assert counted() == 1
    assert sorted(run["state_name"] for run in recorded.task_runs()) == ["Cached", "Completed"]


@pytest.mark.parametrize("runner", [ThreadPoolTaskRunner, ProcessPoolTaskRunner])
def test_submitted_and_mapped_calls(colour, double, counted, recorded, runner):
    each = double()

    @flow(task_runner=runner(2))
    @colour.paint
    async def parent(values):
        futures = each.map(values)
        return await futures if colour.is_async else futures.result()

    assert colour.run(parent, [1, 2]) == [2, 4]
    assert colour.run(parent, [2, 3, 1]) == [4, 6, 2]
    assert counted() == 3
    assert [run["state_name"] for run in recorded.task_runs()].count("Cached") == 2


def test_an_isolated_task(colour, counted, recorded):
    note = counted.note

    @colour.isolated(cache_policy=INPUTS)
    async def double(x):
        note()
        return x * 2

    assert called(colour, double, 1, 1) == [2, 2]
    assert counted() == 1
    assert sorted(run["state_name"] for run in recorded.task_runs()) == ["Cached", "Completed"]


def test_a_failure_is_not_kept(colour, counted):
    @task(cache_policy=INPUTS)
    @colour.paint
    async def fail_once(x):
        counted.note()
        if counted() == 1:
            raise LookupError("not yet")
        return x

    with pytest.raises(LookupError):
        called(colour, fail_once, 1)
    assert called(colour, fail_once, 1, 1) == [1, 1]
    assert counted() == 2


def test_none_is_a_result_like_any_other(colour, counted):
    @task(cache_policy=INPUTS)
    @colour.paint
    async def nothing(x):
        counted.note()

    assert called(colour, nothing, 1, 1) == [None, None]
    assert counted() == 1


def test_a_large_result_whose_file_was_removed_is_computed_again(colour, counted, home):
    @task(cache_policy=INPUTS)
    @colour.paint
    async def large(x):
        counted.note()
        return os.urandom(1_000_000)

    (first,) = called(colour, large, 1)
    assert called(colour, large, 1) == [first]
    for path in home.rglob("*"):
        if path.is_file() and path.stat().st_size >= 1_000_000 and "results" in str(path):
            path.unlink()
    (second,) = called(colour, large, 1)
    assert second != first
    assert counted() == 2
    assert called(colour, large, 1) == [second]


def test_a_result_expires(colour, double, counted):
    each = double(cache_expiration=datetime.timedelta(hours=1))
    called(colour, each, 1)
    with travel(59 * 60):
        called(colour, each, 1)
        assert counted() == 1
    with travel(61 * 60):
        called(colour, each, 1)
        assert counted() == 2


def test_it_is_refreshed(colour, double, counted):
    place = {"x": 1}

    @task(cache_policy=INPUTS)
    @colour.paint
    async def read(key):
        counted.note()
        return place[key]

    assert called(colour, read, "x") == [1]
    place["x"] = 2
    assert called(colour, read, "x") == [1]
    assert called(colour, read.with_options(refresh_cache=True), "x") == [2]
    assert called(colour, read, "x") == [2]
    place["x"] = 3
    with using(task_refresh_cache=True):
        assert called(colour, read, "x") == [3]
        assert called(colour, read.with_options(refresh_cache=False), "x") == [3]
    assert counted() == 3


def test_a_function_makes_the_key(colour, counted, recorded):
    seen = []

    def by_day(context, parameters):
        seen.append((context.task.name, dict(parameters)))
        return f"day-{parameters['x'] % 7}"

    @task(cache_key_fn=by_day)
    @colour.paint
    async def load(x, y=5):
        counted.note()
        return x

    assert called(colour, load, 1, 8, 2) == [1, 1, 2]
    assert seen[0] == ("load", {"x": 1, "y": 5})
    assert {run["cache_key"] for run in recorded.task_runs()} == {"day-1", "day-2"}
    assert counted() == 2


def test_a_key_function_that_gives_none_keeps_nothing(colour, counted):
    @task(cache_key_fn=lambda context, parameters: None)
    @colour.paint
    async def load(x):
        counted.note()
        return x

    assert called(colour, load, 1, 1) == [1, 1]
    assert counted() == 2


@pytest.mark.parametrize(
    ("policy", "times"),
    [(RUN_ID, 2), (INPUTS + RUN_ID, 4), (INPUTS - "x", 1), (TASK_SOURCE, 1), (NO_CACHE, 6), (INPUTS + TASK_SOURCE, 2)],
    ids=repr,
)
def test_policies(colour, double, counted, policy, times):
    each = double(cache_policy=policy)
    for _ in range(2):
        called(colour, each, 1, 2, 1)
    assert counted() == times


def test_an_input_that_cannot_be_hashed_is_named(colour, recorded, counted):
    @task(cache_policy=INPUTS)
    @colour.paint
    async def use(lock):
        counted.note()

    with pytest.raises(SerializationError, match="lock") as caught:
        called(colour, use, threading.Lock())
    assert "INPUTS - 'lock'" in str(caught.value)
    assert counted() == 0
    assert recorded.task_run()["state_type"] == "FAILED"


def test_a_hit_calls_the_hooks_of_completion_only(colour, double):
    said = []
    each = double(
        on_running=[lambda task, run, state: said.append(state.name)],
        on_completion=[lambda task, run, state: said.append(state.name)],
    )
    called(colour, each, 1, 1)
    assert said == ["Running", "Completed", "Cached"]


def test_the_state_of_a_hit(colour, double):
    each = double()

    @flow
    @colour.paint
    async def parent():
        await colour.call(each, 1)
        state = await colour.call(each, 1, return_state=True)
        return [str(state), state.is_completed(), state.result()]

    assert colour.run(parent) == ["Cached(type=COMPLETED)", True, 2]


# Two at once


def test_eight_threads_that_miss_at_once_compute_once(counted, recorded):
    @task(cache_policy=SERIALIZABLE)
    def slow(x):
        counted.note()
        go.wait(60)
        return x

    go = threading.Event()

    @flow(task_runner=ThreadPoolTaskRunner(8))
    def parent():
        futures = [slow.submit(1) for _ in range(8)]
        while not counted():
            threading.Event().wait(0.005)
        go.set()
        return [future.result() for future in futures]

    assert parent() == [1] * 8
    assert counted() == 1
    assert sorted(run["state_name"] for run in recorded.task_runs()) == ["Cached"] * 7 + ["Completed"]


def test_a_failure_lets_the_next_one_compute(counted):
    @task(cache_policy=SERIALIZABLE)
    def fail_twice(x):
        counted.note()
        if counted() <= 2:
            raise LookupError("not yet")
        return x

    @flow(task_runner=ThreadPoolTaskRunner(8))
    def parent():
        futures = [fail_twice.submit(1) for _ in range(6)]
        states = [future.wait() for future in futures]
        return [state.is_completed() for state in states]

    assert sorted(parent()) == [False, False, True, True, True, True]
    assert counted() == 3


def test_a_task_that_calls_itself_with_other_inputs(counted):
    @task(cache_policy=SERIALIZABLE)
    def fibonacci(n):
        counted.note()
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(10) == 55
    assert counted() == 11


SHARED = """
import os, signal, sys
from tidemill import flow, task
from tidemill.caching import INPUTS

@task(cache_policy=INPUTS.configure(isolation_level="SERIALIZABLE"))
def slow(x):
    print("computes", flush=True)
    if sys.stdin.readline() == "die\\n":
        os.kill(os.getpid(), signal.SIGKILL)
    return x * 2

@flow
def nightly():
    return slow(21)
"""


@pytest.fixture
def start_shared(start_script, tmp_path):
    """Starts a program whose cached task comes from a module that others share."""
    (tmp_path / "shared.py").write_text(SHARED)
    return lambda: start_script("import shared; print(shared.nightly(), flush=True)")


@pytest.mark.program
def test_processes_that_miss_at_once_compute_once(start_shared, recorded, wait_until):
    first = start_shared()
    first.says("computes")
    others = [start_shared() for _ in range(2)]
    wait_until(lambda: len(recorded.flow_runs()) == 3)
    assert first.end("\n") == "42\n"
    assert [process.end() for process in others] == ["42\n"] * 2
    assert sorted(run["state_name"] for run in recorded.task_runs()) == ["Cached", "Cached", "Completed"]


@pytest.mark.program
def test_a_claim_ends_with_the_process_that_made_it(start_shared, recorded, wait_until):
    first = start_shared()
    first.says("computes")
    second = start_shared()
    wait_until(lambda: len(recorded.flow_runs()) == 2)
    assert first.end("die\n") == ""
    assert second.end("go\n") == "computes\n42\n"


# Why


def test_the_command_says_why(double, cli, recorded, colour):
    each = double()
    called(colour, each, 1, 1, 2)
    first, second, third = (run["name"] for run in sorted(recorded.task_runs(), key=lambda run: run["id"]))
    assert "It missed: no earlier run has its key" in cli("task-run", "why", first)
    assert "It hit" in cli("task-run", "why", second)
    assert "differs in input 'x'" in cli("task-run", "why", third)


def test_a_key_function_that_fails_fails_the_task(colour, counted, recorded):
    def fail(context, parameters):
        raise LookupError("no key today")

    @task(cache_key_fn=fail)
    @colour.paint
    async def load(x):
        counted.note()
        return x

    with pytest.raises(LookupError, match="no key today"):
        called(colour, load, 1)
    assert counted() == 0
    assert recorded.task_run()["state_type"] == "FAILED"
