"""Programs with `isolation="process"`: time limits in C code, signals to the program, its own death, and resuming."""

import signal
import textwrap

import pytest

PRELUDE = """
import asyncio, ctypes, os, signal, sys, time
from tidemill import flow, task, ThreadPoolTaskRunner

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def stuck_for_good():
    \"\"\"Inside C code that keeps the interpreter lock and lets no signal through.\"\"\"
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.valid_signals()))
    say("ready", os.getpid())
    ctypes.PyDLL(None).sleep(600)

"""

PLACES = {
    "a task": """
        @task(isolation="process", LIMIT)
        def stuck():
            stuck_for_good()

        @flow
        def nightly():
            return stuck(RETURN)

        say(nightly())
        """,
    "a submitted task": """
        @task(isolation="process", LIMIT)
        def stuck():
            stuck_for_good()

        @flow
        def nightly():
            future = stuck.submit()
            return future.wait() if "RETURN" else future.result()

        say(nightly())
        """,
    "an async task": """
        @task(isolation="process", LIMIT)
        async def stuck():
            stuck_for_good()

        @flow
        async def nightly():
            return await stuck(RETURN)

        say(asyncio.run(nightly()))
        """,
    "a submitted async task": """
        @task(isolation="process", LIMIT)
        async def stuck():
            stuck_for_good()

        @flow
        async def nightly():
            return await stuck.submit()

        say(asyncio.run(nightly()))
        """,
    "a flow": """
        @flow(isolation="process", LIMIT)
        def nightly():
            stuck_for_good()

        say(nightly(RETURN))
        """,
    "an async flow": """
        @flow(isolation="process", LIMIT)
        async def nightly():
            stuck_for_good()

        say(asyncio.run(nightly(RETURN)))
        """,
    "a subflow": """
        @flow(isolation="process", LIMIT)
        def below():
            stuck_for_good()

        @flow
        def nightly():
            return below(RETURN)

        say(nightly())
        """,
}


@pytest.fixture(params=PLACES.values(), ids=PLACES)
def place(request):
    return request.param


@pytest.fixture
def start_stuck(start_script):
    """Starts a program that gets stuck, and gives its process and the number of the stuck one."""

    def start(source):
        process = start_script(PRELUDE + textwrap.dedent(source))
        word, pid = process.stdout.readline().split() or (process.told, 0)
        assert word == "ready", process.told
        return process, int(pid)

    return start


def test_a_time_limit_ends_c_code(start_stuck, recorded, wait_until, lives, place):
    process, child = start_stuck(place.replace("LIMIT", "timeout_seconds=0.3").replace("RETURN", ""))
    process.end()
    assert process.returncode == 1, process.told
    assert "exceeded timeout of 0.3 seconds" in process.told
    wait_until(lambda: not lives(child))
    states = {(run["state_type"], run["state_name"]) for run in recorded.task_runs() + recorded.flow_runs()}
    assert ("FAILED", "TimedOut") in states
    assert {type for type, _ in states} == {"FAILED"}


@pytest.mark.parametrize(("signum", "codes"), [(signal.SIGINT, {-2, 130}), (signal.SIGTERM, {-15, 143})], ids=["INT", "TERM"])
def test_a_signal_to_the_program_ends_the_child(start_stuck, recorded, wait_until, lives, place, signum, codes):
    process, child = start_stuck(place.replace("LIMIT", "").replace("RETURN", ""))
    process.send_signal(signum)
    process.end()
    assert process.returncode in codes, process.told
    wait_until(lambda: not lives(child))
    assert {run["state_type"] for run in recorded.flow_runs()} == {"CRASHED"}
    assert {run["state_type"] for run in recorded.task_runs()} <= {"CRASHED", "CANCELLED"}


def test_the_death_of_the_program_ends_the_child(start_stuck, cli, recorded, wait_until, lives, place):
    process, child = start_stuck(place.replace("LIMIT", "").replace("RETURN", ""))
    process.kill()
    process.wait()
    wait_until(lambda: not lives(child))
    cli("flow-run", "ls")  # ends what is left of dead processes
    assert {run["state_type"] for run in recorded.flow_runs()} == {"CRASHED"}
    assert {run["state_type"] for run in recorded.task_runs()} <= {"CRASHED"}


RESUMED = {
    "isolated tasks": ('@task(isolation="process")', '@flow(idempotency_key="k")'),
    "an isolated flow": ("@task", '@flow(idempotency_key="k", isolation="process")'),
}


@pytest.mark.parametrize("how", ["by command", "called again"])
@pytest.mark.parametrize(("of_task", "of_flow"), RESUMED.values(), ids=RESUMED)
def test_what_was_finished_is_not_repeated(run_script, start_script, cli, recorded, monkeypatch, of_task, of_flow, how):
    source = (
        PRELUDE
        + """
OF_TASK
def step(x):
    say("step", x)
    return x * 10

OF_TASK
def wait_there(x):
    if not os.path.exists("go"):
        say("ready")
        time.sleep(600)
    return x

OF_FLOW
def nightly():
    values = [step(x) for x in range(3)] + step.map([3, 4]).result()
    wait_there(1)
    return values + [step(5)]

if __name__ == "__main__":
    say(nightly())
""".replace("OF_TASK", of_task).replace("OF_FLOW", of_flow)
    )
    process = start_script(source)
    said = [process.stdout.readline().strip() for _ in range(6)]
    assert sorted(said) == ["ready", *(f"step {x}" for x in range(5))], process.told
    process.kill()
    process.wait()
    folder = process.said.parent
    if how == "called again":
        done = run_script(source.replace('os.path.exists("go")', "True"), cwd=folder)
        assert done.stdout.splitlines() == ["step 5", "[0, 10, 20, 30, 40, 50]"], done.stderr
    else:
        (folder / "go").touch()
        monkeypatch.chdir(folder)
        cli("flow-run", "resume", recorded.flow_run()["name"])
    assert recorded.flow_run()["state_type"] == "COMPLETED"
    runs = recorded.task_runs()
    assert len(runs) == 7
    assert {run["state_type"] for run in runs} == {"COMPLETED"}
