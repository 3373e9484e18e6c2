"""The process pool while its processes die: each death costs one task one try, and nothing else."""

import os
import resource
import signal

import pytest

from tidemill import ProcessPoolTaskRunner, flow, runtime, task
from tidemill.exceptions import ChildDied

pytestmark = pytest.mark.program


def kill_once(place, x):
    """Kills the process that comes here first with this number."""
    try:
        os.close(os.open(os.path.join(place, str(x)), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def states(recorded):
    return sorted(run["state_type"] for run in recorded.task_runs(limit=200))


def test_one_of_twenty_dies_and_fails_alone(recorded, tmp_path):
    place = str(tmp_path)

    @task
    def step(x):
        if x == 7:
            kill_once(place, x)
        return x

    @flow(task_runner=ProcessPoolTaskRunner(2))
    def parent():
        futures = step.map(range(20))
        futures.wait()
        with pytest.raises(ChildDied, match="SIGKILL"):
            futures[7].result()
        return [future.result() for future in futures if future.state.is_completed()]

    assert parent() == [x for x in range(20) if x != 7]
    assert states(recorded) == ["COMPLETED"] * 19 + ["FAILED"]


def test_one_of_twenty_dies_and_is_retried(recorded, tmp_path):
    place = str(tmp_path)

    @task(retries=1)
    def step(x):
        if x == 7:
            kill_once(place, x)
        return x, runtime.task_run.run_count

    @flow(task_runner=ProcessPoolTaskRunner(2))
    def parent():
        return step.map(range(20)).result()

    assert parent() == [(x, 2 if x == 7 else 1) for x in range(20)]
    assert states(recorded) == ["COMPLETED"] * 20


@pytest.mark.parametrize(("is_async", "count"), [(False, 100), (True, 30)], ids=["plain", "async"])
def test_every_second_one_dies_once(recorded, tmp_path, is_async, count):
    """Many on four processes, of which half are killed."""
    place = str(tmp_path)

    def body(x):
        if x % 2:
            kill_once(place, x)
        return x

    if is_async:

        @task(retries=2)
        async def step(x):
            return body(x)

    else:

        @task(retries=2)
        def step(x):
            return body(x)

    @flow(task_runner=ProcessPoolTaskRunner(4))
    def parent():
        return step.map(range(count)).result()

    assert parent() == list(range(count))
    runs = recorded.task_runs(limit=200)
    assert {run["state_type"] for run in runs} == {"COMPLETED"}
    assert sum(run["run_count"] for run in runs) == count + count // 2


def test_processes_that_are_killed_from_outside(recorded, tmp_path):
    """Whatever they are doing at that moment."""
    place = str(tmp_path / "seen")
    os.mkdir(place)

    @task(retries=10)
    def step(x):
        with open(os.path.join(place, str(os.getpid())), "w"):
            pass
        return sum(range(10_000))

    @flow(task_runner=ProcessPoolTaskRunner(4))
    def parent():
        futures = step.map(range(200))
        killed = set()
        while not all(future.done() for future in futures):
            futures.wait(0.02)
            for pid in [int(name) for name in os.listdir(place) if int(name) not in killed][:1]:
                if len(killed) < 20:
                    killed.add(pid)
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
        return futures.result()

    assert parent() == [sum(range(10_000))] * 200
    assert {run["state_type"] for run in recorded.task_runs(limit=200)} == {"COMPLETED"}


def test_too_little_memory_fails_one(recorded):
    @task
    def greedy(size):
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, resource.RLIM_INFINITY))
        return len(bytearray(size))

    @flow(task_runner=ProcessPoolTaskRunner(1))
    def parent():
        large, small = greedy.submit(64 << 30), greedy.submit(1000)
        with pytest.raises(MemoryError):
            large.result()
        return small.result()

    assert parent() == 1000
    assert states(recorded) == ["COMPLETED", "FAILED"]


def test_what_needed_the_dead_one_is_not_started(recorded, tmp_path):
    place = str(tmp_path)

    @task
    def step(x, before=None):
        if x == 1:
            kill_once(place, x)
        return x

    @flow(task_runner=ProcessPoolTaskRunner(2))
    def parent():
        first = step.submit(1)
        after, other = step.submit(2, first), step.submit(3)
        after.wait()
        return after.state.name, other.result()

    assert parent() == ("NotReady", 3)


def test_a_task_that_was_killed_while_it_waited_for_its_retry(recorded, tmp_path):
    """A try that fails, and the death of the process in the next one, are two tries."""
    place = str(tmp_path)

    @task(retries=2, retry_delay_seconds=0.05)
    def step():
        if runtime.task_run.run_count == 1:
            raise LookupError("first")
        kill_once(place, "second")
        return runtime.task_run.run_count

    @flow(task_runner=ProcessPoolTaskRunner(1))
    def parent():
        return step.submit().result()

    assert parent() == 3
    names = [state["name"] for state in recorded.states(recorded.task_run())]
    assert names == ["Pending", "Running", "AwaitingRetry", "Retrying", "AwaitingRetry", "Retrying", "Completed"]
