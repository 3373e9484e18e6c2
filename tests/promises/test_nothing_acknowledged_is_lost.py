"""Promise 2. Nothing acknowledged is lost: what a caller saw is committed, whatever happens one instruction later."""

import random
import signal

import pytest

TASKS = 2000

PLAIN = f"""
import os
from tidemill import flow, task

@task(task_run_name="square {{n}}")
def square(n):
    return n * n

@flow
def many():
    for n in range({TASKS}):
        value = square(n)
        os.write(1, b"%d %d\\n" % (n, value))

many()
"""

ASYNC = f"""
import asyncio, os
from tidemill import flow, task

@task(task_run_name="square {{n}}")
async def square(n):
    return n * n

async def one(n):
    value = await square(n)
    os.write(1, b"%d %d\\n" % (n, value))

@flow
async def many():
    for start in range(0, {TASKS}, 20):
        await asyncio.gather(*(one(n) for n in range(start, start + 20)))

asyncio.run(many())
"""


READ_BACK = """
from tidemill.client import connect
from tidemill.colour import BlockingIO, run_blocking
from tidemill.filters import Filters, FlowRunFilter, IdFilter, Page

client = connect(BlockingIO())
latest = run_blocking(client.flow_runs(page=Page(1)))[0]
filters = Filters(flow_runs=FlowRunFilter(id=IdFilter(any_=[latest.id])))
for run in run_blocking(client.task_runs(filters, page=Page(None))):
    if run.state.is_completed():
        print(run.name.removeprefix("square "), run.state.result())
"""
"""Prints number and result of every completed task run of the latest flow run, in a process that knows nothing else."""


def pairs(lines):
    """The lines that were written whole, as pairs of numbers."""
    return [tuple(map(int, line.split())) for line in lines if line.endswith("\n")]


def kill_at_a_random_moment(start_script, source, seed):
    """Starts the script, kills it after a random number of lines, and gives the pairs it had printed until then."""
    process = start_script(source)
    wanted = random.Random(seed).randrange(1, TASKS)
    seen = [line for line, _ in zip(process.stdout, range(wanted), strict=False)]
    process.kill()
    seen += process.stdout.readlines()
    process.wait()
    return pairs(seen)


@pytest.mark.slow
@pytest.mark.parametrize("source", [PLAIN, ASYNC], ids=["plain", "async"])
def test_every_number_that_was_printed_is_a_committed_task_run_with_its_result(
    start_script, run_script, cli, pytestconfig, source
):
    for round_number in range(pytestconfig.getoption("rounds")):
        seed = random.randrange(2**32)
        printed = kill_at_a_random_moment(start_script, source, seed)
        assert printed
        done = run_script(READ_BACK)
        assert done.returncode == 0, done.stderr
        committed = dict(pairs(done.stdout.splitlines(keepends=True)))
        lost = [(n, value) for n, value in printed if committed.get(n) != value]
        assert not lost, f"round {round_number}, seed {seed}: {len(printed)} printed, {len(committed)} committed"
    cli("db", "check")


@pytest.mark.parametrize("durability", ["process", "power"])
def test_a_task_that_ends_just_before_the_end_of_the_world(run_script, cli, durability):
    done = run_script(
        """
        import os, signal
        from tidemill import flow, task

        @task
        def last():
            return "kept"

        @flow
        def doomed():
            last()
            os.kill(os.getpid(), signal.SIGKILL)

        doomed()
        """,
        env={"TIDEMILL_DURABILITY": durability},
    )
    assert done.returncode == -signal.SIGKILL
    (run,) = cli("task-run", "ls", "--json")
    assert run["state_type"] == "COMPLETED"


def test_relaxed_may_lose_the_last_moment_and_nothing_before(start_script, cli, wait_until):
    process = start_script(
        """
        import os, time
        from tidemill import flow, task

        @task
        def step(n):
            return n

        @flow
        def waiting():
            for n in range(100):
                step(n)
            print("ready", flush=True)
            time.sleep(600)

        waiting()
        """,
        env={"TIDEMILL_DURABILITY": "relaxed"},
    )
    process.says("ready")
    wait_until(lambda: len(cli("task-run", "ls", "--state-type", "COMPLETED", "--json", "--limit", "200")) == 100)
    process.kill()
    process.wait()
    assert len(cli("task-run", "ls", "--state-type", "COMPLETED", "--json", "--limit", "200")) == 100


def test_a_flow_whose_value_was_seen_is_recorded(run_script, cli):
    done = run_script(
        """
        import os, signal
        from tidemill import flow

        @flow
        def last():
            return "kept"

        last()
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert done.returncode == -signal.SIGKILL
    (run,) = cli("flow-run", "ls", "--json")
    assert run["state_type"] == "COMPLETED"


def test_a_failure_that_was_seen_is_recorded(run_script, cli):
    done = run_script(
        """
        import os, signal
        from tidemill import flow, task

        @task
        def fail():
            raise LookupError("gone")

        @flow
        def doomed():
            try:
                fail()
            except LookupError:
                os.kill(os.getpid(), signal.SIGKILL)

        doomed()
        """
    )
    assert done.returncode == -signal.SIGKILL
    (run,) = cli("task-run", "ls", "--json")
    assert (run["state_type"], run["state"]["message"]) == ("FAILED", "Task run encountered an exception.")
