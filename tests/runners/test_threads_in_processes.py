"""Programs whose tasks run on threads: signals, exits, forks and a full disk while some are under way."""

import os
import signal

import pytest

STUCK = """
import asyncio, sys, threading, time
from tidemill import flow, task, ThreadPoolTaskRunner

def told(thing, run, state):
    print("hook", run.name.split("-")[0], state.type.value, flush=True)

begun = threading.Event()

@task
def stuck(x):
    if x == 1:
        begun.set()
    for _ in range(60_000):
        time.sleep(0.01)

@task
def after(x):
    return x

@flow(task_runner=ThreadPoolTaskRunner(max_workers=2), name="interrupted", flow_run_name="run", on_crashed=[told])
def interrupted():
    futures = stuck.map(range(4))
    after.submit(futures[0])
    begun.wait()
    print("ready", flush=True)
    {wait}

interrupted()
print("never reached")
"""

WAITS = {
    "for a result": "futures[0].result()",
    "for all": "futures.wait()",
    "by its own work": "time.sleep(600)",
    "at its end": "return 1",
}


ASYNC_STUCK = """
import asyncio, time
from tidemill import flow, task

def told(thing, run, state):
    print("hook", run.name, state.type.value, flush=True)

@task
async def stuck(x):
    if x == 1:
        print("ready", flush=True)
    await asyncio.sleep(600)

@task
def plainly_stuck():
    for _ in range(60_000):
        time.sleep(0.01)

@task
async def after(x):
    return x

@flow(name="interrupted", flow_run_name="run", on_crashed=[told])
async def interrupted():
    plainly_stuck.submit()
    futures = stuck.map(range(3))
    after.submit(futures[0])
    {wait}

asyncio.run(interrupted())
print("never reached")
"""

ASYNC_WAITS = {
    "for a result": "await futures[0]",
    "for all": "await futures",
    "by its own work": "await asyncio.sleep(600)",
    "at its end": "return 1",
}


SIGNALLED = {
    **{how: STUCK.format(wait=wait) for how, wait in WAITS.items()},
    **{f"{how}, on a loop": ASYNC_STUCK.format(wait=wait) for how, wait in ASYNC_WAITS.items()},
}


@pytest.mark.parametrize("how", SIGNALLED)
@pytest.mark.parametrize(("signum", "codes"), [(signal.SIGINT, {-2, 130}), (signal.SIGTERM, {-15, 143})], ids=["INT", "TERM"])
def test_a_signal_while_submitted_tasks_run(start_script, recorded, signum, codes, how):
    process = start_script(SIGNALLED[how])
    process.says("ready")
    process.send_signal(signum)
    out = process.end()
    assert process.returncode in codes, process.told
    assert out.splitlines() == ["hook run CRASHED"]
    assert recorded.flow_run()["state_type"] == "CRASHED"
    tasks = recorded.task_runs()
    assert len(tasks) == 5
    assert {task["state_type"] for task in tasks} <= {"CANCELLED", "CRASHED"}, [task["state"] for task in tasks]


def test_a_signal_ends_a_process_whose_tasks_are_stuck_where_python_cannot_interrupt(start_script, recorded):
    process = start_script(
        """
        import threading, time
        from tidemill import flow, task

        @task
        def stuck():
            print("ready", flush=True)
            time.sleep(600)

        @flow
        def interrupted():
            stuck.submit().result()

        interrupted()
        """
    )
    process.says("ready")
    process.send_signal(signal.SIGTERM)
    process.end()
    assert process.returncode in {-15, 143}, process.told
    assert recorded.flow_run()["state_type"] == "CRASHED"
    assert [run["state_type"] for run in recorded.task_runs()] == ["CANCELLED"]


def test_tasks_submitted_outside_a_flow_are_finished_before_the_interpreter_ends(run_script, recorded):
    done = run_script(
        """
        import time
        from tidemill import task

        @task
        def step(x):
            time.sleep(0.05)
            print("step", x, flush=True)
            return x

        first = step.submit(1)
        step.submit(first)
        """
    )
    assert (done.returncode, done.stdout) == (0, "step 1\nstep 1\n"), done.stderr
    assert "Traceback" not in done.stderr
    assert {run["state_type"] for run in recorded.task_runs()} == {"COMPLETED"}


def test_sys_exit_in_the_flow_while_tasks_run(run_script, recorded):
    done = run_script(
        """
        import sys, time
        from tidemill import flow, task

        @task
        def stuck():
            for _ in range(60_000):
                time.sleep(0.01)

        @flow
        def leaving():
            stuck.submit()
            stuck.submit()
            sys.exit(7)

        leaving()
        """
    )
    assert done.returncode == 7, done.stderr
    assert recorded.flow_run()["state_type"] == "CRASHED"
    assert {run["state_type"] for run in recorded.task_runs()} == {"CANCELLED"}


def test_a_flow_in_a_daemon_thread_when_the_interpreter_ends(start_script, recorded):
    process = start_script(
        """
        import threading, time
        from tidemill import flow, task

        going = threading.Event()

        @task
        def stuck():
            going.set()
            for _ in range(60_000):
                time.sleep(0.01)

        @flow
        def in_thread():
            return [stuck.submit() for _ in range(3)]

        threading.Thread(target=in_thread, daemon=True).start()
        going.wait()
        """
    )
    process.end()
    assert process.returncode == 0, process.told
    assert "Fatal" not in process.told
    assert recorded.flow_run()["state_type"] == "CRASHED"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_submits_too(run_script, recorded):
    done = run_script(
        """
        import os, sys
        from tidemill import flow, task

        @task
        def step(x):
            return x + os.getpid() * 0

        @flow
        def parent():
            before = step.map(range(5)).result()
            child = os.fork()
            if child == 0:
                print("child", step.map(range(5)).result(), flush=True)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            return before, step.map(range(3)).result(), status

        print("parent", parent())
        """
    )
    assert done.stdout.splitlines() == ["child [0, 1, 2, 3, 4]", "parent ([0, 1, 2, 3, 4], [0, 1, 2], 0)"], done.stderr
    runs = recorded.task_runs()
    assert len(runs) == 13
    assert {run["state_type"] for run in runs} == {"COMPLETED"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_while_tasks_are_outstanding_leaves_them_to_the_parent(run_script, recorded):
    done = run_script(
        """
        import os, threading
        from tidemill import flow, task

        go = threading.Event()

        @task
        def waiting():
            go.wait(60)
            return "waited"

        @task
        def step(x):
            return x

        @flow
        def parent():
            future = waiting.submit()
            child = os.fork()
            if child == 0:
                print("child", step.submit(1).result(), flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            go.set()
            return future.result()

        print("parent", parent())
        """
    )
    assert done.stdout.splitlines() == ["child 1", "parent waited"], done.stderr
    assert [run["state_type"] for run in recorded.task_runs()] == ["COMPLETED"] * 2


FULL = """
import os, resource, sys, threading
from tidemill import flow, task
from tidemill.exceptions import StoreError

@task
def step(x):
    return os.urandom(2000)

@flow
def parent():
    first = step.submit(0).result()
    home = os.environ["TIDEMILL_HOME"]
    size = max(os.path.getsize(os.path.join(folder, file)) for folder, _, files in os.walk(home) for file in files)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    futures = [step.submit(x) for x in range(3000)]
    try:
        for future in futures:
            future.result()
    finally:
        print("submitted", flush=True)

import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    parent()
except StoreError as error:
    print(type(error).__name__, flush=True)
"""


def test_a_full_disk_while_futures_are_outstanding_is_an_error_and_no_hang(run_script):
    done = run_script(FULL)
    assert done.stdout.splitlines()[0] == "submitted", done.stderr[-2000:]
    assert done.stdout.splitlines()[1:], done.stderr[-2000:]
