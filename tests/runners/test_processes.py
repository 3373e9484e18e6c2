"""What is particular about the process pool: whose its processes are, and when they end."""

import os
import pickle
import threading
import time

import pytest

from tidemill import ProcessPoolTaskRunner, flow, task

pytestmark = pytest.mark.program


@task
def where():
    return os.getpid()


def test_a_subflow_uses_the_processes_of_its_parent():
    @flow
    def below():
        return where.submit().result()

    @flow(task_runner=ProcessPoolTaskRunner(1))
    def parent():
        return where.submit().result(), below(), below(), where.submit().result()

    assert len(set(parent())) == 1


def test_flows_that_run_at_the_same_time_each_have_their_number(tmp_path):
    """The processes that one flow run is using are not those of another."""
    seen = []
    both = threading.Barrier(2)
    met = tmp_path / "met"
    met.mkdir()

    @task(timeout_seconds=60)
    def wait_for_the_other(name):
        (met / name).touch()
        while len(list(met.iterdir())) < 2:
            time.sleep(0.005)
        return os.getpid()

    @flow(task_runner=ProcessPoolTaskRunner(1))
    def parent(name):
        both.wait(60)
        seen.append(wait_for_the_other.submit(name).result())

    threads = [threading.Thread(target=parent, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(seen)) == 2


def test_its_processes_end_with_the_last_flow_that_uses_them(lives):
    go = threading.Event()
    begun = threading.Event()
    runner = ProcessPoolTaskRunner(1)
    used = []

    @flow(task_runner=runner)
    def long():
        used.append(where.submit().result())
        begun.set()
        go.wait(60)
        used.append(where.submit().result())

    @flow(task_runner=runner)
    def short():
        used.append(where.submit().result())

    thread = threading.Thread(target=long)
    thread.start()
    assert begun.wait(60)
    short()
    assert lives(used[0])
    go.set()
    thread.join(60)
    assert len(used) == 3
    assert len(set(used)) == 1
    assert not lives(used[0])
    short()
    assert used[3] != used[0]


def test_a_runner_travels_with_its_options():
    runner = pickle.loads(pickle.dumps(ProcessPoolTaskRunner(3)))
    assert repr(runner) == repr(runner.fresh()) == "ProcessPoolTaskRunner(max_workers=3)"
