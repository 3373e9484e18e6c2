"""Promises 3 and 8 where `isolation="process"`: time limits in C code, signals to the program, its own death, resuming."""

import signal

import pytest

PLACES = {
    "a task": """
        @task(isolation="process", LIMIT)
        def stuck():
            hold()

        @flow
        def nightly():
            return stuck(RETURN)

        say(nightly())
        """,
    "a submitted task": """
        @task(isolation="process", LIMIT)
        def stuck():
            hold()

        @flow
        def nightly():
            future = stuck.submit()
            return future.wait() if "RETURN" else future.result()

        say(nightly())
        """,
    "an async task": """
        @task(isolation="process", LIMIT)
        async def stuck():
            hold()

        @flow
        async def nightly():
            return await stuck(RETURN)

        import asyncio
        say(asyncio.run(nightly()))
        """,
    "a submitted async task": """
        @task(isolation="process", LIMIT)
        async def stuck():
            hold()

        @flow
        async def nightly():
            return await stuck.submit()

        import asyncio
        say(asyncio.run(nightly()))
        """,
    "a flow": """
        @flow(isolation="process", LIMIT)
        def nightly():
            hold()

        say(nightly(RETURN))
        """,
    "an async flow": """
        @flow(isolation="process", LIMIT)
        async def nightly():
            hold()

        import asyncio
        say(asyncio.run(nightly(RETURN)))
        """,
    "a subflow": """
        @flow(isolation="process", LIMIT)
        def below():
            hold()

        @flow
        def nightly():
            return below(RETURN)

        say(nightly())
        """,
}


@pytest.fixture(params=PLACES.values(), ids=PLACES)
def place(request):
    return request.param


READY = """
        @task(isolation="process")
        def ready():
            pass

        ready()
"""
"""Has a child process started, which what is isolated is then executed in: for a flow its start counts as part of its time."""


def test_a_time_limit_ends_c_code(start_held, recorded, wait_until, lives, place):
    process, child = start_held(READY + place.replace("LIMIT", "timeout_seconds=0.5").replace("RETURN", ""))
    process.end()
    assert process.returncode == 1, process.told
    assert "exceeded timeout of 0.5 seconds" in process.told
    wait_until(lambda: not lives(child))
    runs = [run for run in recorded.task_runs() if not run["name"].startswith("ready-")] + recorded.flow_runs()
    states = {(run["state_type"], run["state_name"]) for run in runs}
    assert ("FAILED", "TimedOut") in states
    assert {type for type, _ in states} == {"FAILED"}


@pytest.mark.parametrize(("signum", "codes"), [(signal.SIGINT, {-2, 130}), (signal.SIGTERM, {-15, 143})], ids=["INT", "TERM"])
def test_a_signal_to_the_program_ends_the_child(start_held, recorded, wait_until, lives, place, signum, codes):
    process, child = start_held(place.replace("LIMIT", "").replace("RETURN", ""))
    process.send_signal(signum)
    process.end()
    assert process.returncode in codes, process.told
    wait_until(lambda: not lives(child))
    assert {run["state_type"] for run in recorded.flow_runs()} == {"CRASHED"}
    assert {run["state_type"] for run in recorded.task_runs()} <= {"CRASHED", "CANCELLED"}


def test_the_death_of_the_program_ends_the_child(start_held, cli, recorded, wait_until, lives, place):
    process, child = start_held(place.replace("LIMIT", "").replace("RETURN", ""))
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
def test_what_was_finished_is_not_repeated(say, start_saying, cli, recorded, monkeypatch, of_task, of_flow, how):
    source = """
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
    process = start_saying(source)
    said = process.lines(6)
    assert sorted(said) == ["ready", *(f"step {x}" for x in range(5))], process.told
    process.kill()
    process.wait()
    folder = process.said.parent
    if how == "called again":
        again = source.replace('os.path.exists("go")', "True")
        assert say(again, cwd=folder) == ["step 5", "[0, 10, 20, 30, 40, 50]"]
    else:
        (folder / "go").touch()
        monkeypatch.chdir(folder)
        cli("flow-run", "resume", recorded.flow_run()["name"])
    assert recorded.flow_run()["state_type"] == "COMPLETED"
    runs = recorded.task_runs()
    assert len(runs) == 7
    assert {run["state_type"] for run in runs} == {"COMPLETED"}
