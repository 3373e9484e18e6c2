"""Flows that fork, threads without context, two event loops: odd places to call from, and nothing breaks or hangs."""

import asyncio
import threading

import pytest

from tidemill import flow, task
from tidemill.runtime import flow_run

TASK = """
import os, sys, warnings
warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
from tidemill import flow, task

@task
def add_one(x):
    return x + 1
"""


def test_a_flow_that_forks_and_whose_child_leaves_at_once(run_script, recorded, cli):
    done = run_script(
        TASK
        + """
@flow
def forking():
    first = add_one(1)
    child = os.fork()
    if child == 0:
        os._exit(7)
    _, status = os.waitpid(child, 0)
    return first, os.waitstatus_to_exitcode(status), add_one(2)

print(forking())
"""
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(2, 7, 3)\n"
    assert recorded.flow_run()["state_type"] == "COMPLETED"
    assert [run["state_type"] for run in recorded.task_runs()] == ["COMPLETED"] * 2
    cli("db", "check")


def test_a_flow_that_forks_and_whose_child_goes_on_as_if_it_were_the_flow(run_script, recorded, cli):
    done = run_script(
        TASK
        + """
@flow
def forking():
    first = add_one(1)
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return "parent", os.waitstatus_to_exitcode(status), add_one(first)
    return "child"

print(forking(), flush=True)
"""
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "('parent', 0, 3)"
    run = recorded.flow_run()
    assert run["state_type"] == "COMPLETED"
    names = [state["name"] for state in recorded.states(run)]
    assert names.count("Running") == 1
    cli("db", "check")


def test_a_child_that_calls_tasks_of_its_own(run_script, recorded, cli):
    done = run_script(
        TASK
        + """
@flow
def forking():
    first = add_one(1)
    child = os.fork()
    if child == 0:
        ok = add_one(10) == 11 and add_one(20) == 21
        sys.stdout.flush()
        os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), add_one(first)

print(forking())
"""
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(0, 3)\n"
    runs = recorded.task_runs()
    assert [run["state_type"] for run in runs] == ["COMPLETED"] * 4
    assert len({run["id"] for run in runs}) == 4
    cli("db", "check")


def test_a_fork_pool_whose_workers_call_a_task(run_script, recorded, cli):
    done = run_script(
        TASK
        + """
import multiprocessing

@flow
def pooling():
    add_one(0)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        values = pool.map(add_one, range(8))
        pool.close()
        pool.join()
    return values, add_one(99)

print(pooling())
"""
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"({list(range(1, 9))}, 100)\n"
    runs = recorded.task_runs()
    assert [run["state_type"] for run in runs] == ["COMPLETED"] * 10
    cli("db", "check")


def test_a_fork_pool_whose_workers_run_flows(run_script, recorded, cli):
    done = run_script(
        TASK
        + """
import multiprocessing

@flow
def one(x):
    return add_one(x)

add_one(0)
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(3) as pool:
        print(pool.map(one, range(6)))
        pool.close()
        pool.join()
"""
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[1, 2, 3, 4, 5, 6]\n"
    assert [run["state_type"] for run in recorded.flow_runs()] == ["COMPLETED"] * 6
    cli("db", "check")


def test_a_spawn_pool_whose_workers_call_a_task(run_script, recorded):
    done = run_script(
        TASK
        + """
import multiprocessing

@flow
def pooling():
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        values = pool.map(add_one, range(4))
        pool.close()
        pool.join()
    return values

if __name__ == "__main__":
    print(pooling())
"""
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[1, 2, 3, 4]\n"
    assert [run["state_type"] for run in recorded.task_runs()] == ["COMPLETED"] * 4


def in_thread(call):
    """What the call gives in a new thread, which knows nothing of any run."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    thread.join()
    return answers[0]


def test_a_flow_called_in_a_thread_without_context_is_a_run_of_its_own(recorded):
    @task
    def below():
        return flow_run.name

    @flow
    def inner():
        return flow_run.parent_flow_run_id, below()

    @flow
    def outer():
        return in_thread(inner)

    above, name = outer()
    assert above is None
    assert name == recorded.flow_run(flow="inner")["name"]
    assert {run["state_type"] for run in recorded.flow_runs()} == {"COMPLETED"}


def test_a_task_called_in_a_thread_without_context_is_recorded_alone(recorded):
    @task
    def below():
        return flow_run.id

    @flow
    def outer():
        return in_thread(below)

    assert outer() is None
    assert recorded.task_run()["flow_run_id"] is None


def test_many_threads_at_once(recorded):
    @task
    def step(x):
        return x + 1

    @flow
    def inner(n):
        return [step(n) for _ in range(10)]

    answers = {}
    threads = [threading.Thread(target=lambda n=n: answers.update({n: inner(n)})) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {n: [n + 1] * 10 for n in range(8)}
    assert [run["state_type"] for run in recorded.flow_runs()] == ["COMPLETED"] * 8
    assert [run["state_type"] for run in recorded.task_runs(limit=200)] == ["COMPLETED"] * 80


@task
async def astep(x):
    await asyncio.sleep(0)
    return x + 1


@flow
async def aflow(x):
    return sum(await asyncio.gather(*(astep(x) for _ in range(5))))


def test_two_event_loops_one_after_the_other(recorded):
    assert asyncio.run(aflow(1)) == 10
    assert asyncio.run(aflow(2)) == 15
    assert [run["state_type"] for run in recorded.flow_runs()] == ["COMPLETED"] * 2


def test_two_event_loops_side_by_side(recorded):
    meeting = threading.Barrier(2)

    @task
    async def meet(n):
        await asyncio.to_thread(meeting.wait)
        return await aflow(n)

    answers = {}
    threads = [threading.Thread(target=lambda n=n: answers.update({n: asyncio.run(meet(n))})) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {0: 5, 1: 10}
    assert {run["state_type"] for run in recorded.flow_runs()} == {"COMPLETED"}


def test_an_event_loop_in_a_thread_of_a_task(recorded):
    @task
    def plain():
        return in_thread(lambda: asyncio.run(aflow(1)))

    @flow
    async def outer():
        return plain() + await aflow(2)

    assert asyncio.run(outer()) == 25


def test_a_coroutine_made_in_one_loop_and_awaited_in_another():
    coroutine = aflow(1)

    async def first():
        return None

    asyncio.run(first())
    assert asyncio.run(coroutine) == 10


@pytest.mark.parametrize("debug", [False, True], ids=["plain loop", "debug loop"])
def test_a_closed_loop_leaves_nothing_behind(debug):
    asyncio.run(aflow(1), debug=debug)
    with asyncio.Runner(debug=debug) as runner:
        assert runner.run(aflow(1)) == 10
