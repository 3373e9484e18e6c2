"""Promise 8 at its sharpest: a limit or a signal may strike between any two instructions, and nothing breaks."""

import asyncio
import random
import signal
import threading

import pytest

from tidemill import flow, task

LIMIT = 0.001
ROUNDS = 300


@task(timeout_seconds=LIMIT)
def spin(turns):
    for _ in range(turns):
        pass
    return turns


@task(timeout_seconds=LIMIT)
async def aspin(turns):
    for _ in range(turns):
        await asyncio.sleep(0)
    return turns


def tell(state, turns):
    """A state that tells the truth: the value, or that time was up."""
    if state.is_completed():
        return state.result() == turns
    return (state.name, state.is_failed()) == ("TimedOut", True)


@pytest.fixture
def turns():
    """Loops of many lengths around the limit."""
    source = random.Random(1)
    return [source.randrange(1, 80_000) for _ in range(ROUNDS)]


@flow
def on_this_thread(turns):
    assert all(tell(spin(n, return_state=True), n) for n in turns)
    return "fine"


def all_ended(recorded):
    (run,) = recorded.flow_runs()
    assert run["state_type"] == "COMPLETED"
    runs = recorded.task_runs(limit=10 * ROUNDS)
    assert {run["state_name"] for run in runs} <= {"Completed", "TimedOut"}
    return len(runs)


def test_a_limit_that_strikes_anywhere_on_the_main_thread(turns, recorded):
    assert on_this_thread(turns) == "fine"
    assert all_ended(recorded) == ROUNDS


def test_a_limit_that_strikes_anywhere_on_another_thread(turns, recorded):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(on_this_thread(turns)))
    thread.start()
    thread.join()
    assert answers == ["fine"]
    assert all_ended(recorded) == ROUNDS


def test_limits_that_strike_anywhere_on_several_threads(turns):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(on_this_thread(turns[:100]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["fine"] * 4


def test_limits_that_strike_anywhere_in_an_event_loop(turns, recorded):
    @flow
    async def in_the_loop():
        few = [n % 200 for n in turns]
        states = await asyncio.gather(*(aspin(n, return_state=True) for n in few))
        assert all(tell(state, n) for state, n in zip(states, few, strict=True))
        return "fine"

    assert asyncio.run(in_the_loop()) == "fine"
    assert all_ended(recorded) == ROUNDS


SCRIPTS = {
    "plain": """
import os
from tidemill import flow, task

def told(flow, run, state):
    os.write(1, b"hook\\n")

@task
def step(n):
    return n

@flow(on_crashed=[told])
def endless():
    n = 0
    while True:
        os.write(1, b"%d\\n" % step(n))
        n += 1

endless()
""",
    "async": """
import asyncio, os
from tidemill import flow, task

def told(flow, run, state):
    os.write(1, b"hook\\n")

@task
async def step(n):
    await asyncio.sleep(0)
    return n

@flow(on_crashed=[told])
async def endless():
    n = 0
    while True:
        for value in await asyncio.gather(*(step(n + more) for more in range(10))):
            os.write(1, b"%d\\n" % value)
        n += 10

asyncio.run(endless())
""",
}


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=lambda signum: signum.name)
@pytest.mark.parametrize("source", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_signal_that_strikes_anywhere(start_script, cli, recorded, pytestconfig, source, signum):
    for _ in range(pytestconfig.getoption("rounds")):
        process = start_script(source)
        wanted = random.randrange(1, 500)
        printed = [line for line, _ in zip(process.stdout, range(wanted), strict=False)]
        process.send_signal(signum)
        printed += process.end().splitlines(keepends=True)
        assert process.returncode in {-signum, 128 + signum}, process.told[-3000:]
        assert printed[-1] == "hook\n"

        run = recorded.flow_runs()[0]
        assert run["state_type"] == "CRASHED", run["state"]
        runs = recorded.task_runs(run, limit=5000)
        assert {each["state_type"] for each in runs} <= {"COMPLETED", "CRASHED"}
        finished = sum(each["state_type"] == "COMPLETED" for each in runs)
        assert finished >= len([line for line in printed if line.strip().isdigit()])
    cli("db", "check")
