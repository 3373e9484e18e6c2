"""Promise 8, the hard cases: code that nothing interrupts, what else the run has started, and what comes after.

`tidemill flow-run cancel` waits by itself until the run has ended, and fails when it does not.
"""

import signal

import pytest

TOP = """
    import asyncio
    from tidemill import ProcessPoolTaskRunner, ThreadPoolTaskRunner, SequentialTaskRunner
    from tidemill.exceptions import CancelledRun

    def hook(thing, run, state):
        say("hook", thing.name, state.name)

"""

PLACES = {
    "an isolated task": """
    @task(isolation="process", on_cancellation=[hook])
    def stuck():
        hold()

    @flow(on_cancellation=[hook], flow_run_name="nightly")
    def nightly():
        stuck()

    nightly()
""",
    "an isolated task that was submitted": """
    @task(isolation="process")
    def stuck():
        hold()

    @flow(on_cancellation=[hook], flow_run_name="nightly")
    def nightly():
        stuck.submit().result()

    nightly()
""",
    "an isolated async task": """
    @task(isolation="process")
    async def stuck():
        hold()

    @flow(on_cancellation=[hook], flow_run_name="nightly")
    async def nightly():
        await asyncio.gather(stuck())

    asyncio.run(nightly())
""",
    "an isolated flow": """
    @flow(isolation="process", on_cancellation=[hook], flow_run_name="nightly")
    def nightly():
        hold()

    nightly()
""",
    "an isolated async flow": """
    @flow(isolation="process", on_cancellation=[hook], flow_run_name="nightly")
    async def nightly():
        hold()

    asyncio.run(nightly())
""",
    "a task on the process pool": """
    @task
    def stuck():
        hold()

    @flow(task_runner=ProcessPoolTaskRunner(1), on_cancellation=[hook], flow_run_name="nightly")
    def nightly():
        for _ in range(3):
            stuck.submit()

    nightly()
""",
    "an async task on the process pool": """
    @task
    async def stuck():
        hold()

    @flow(task_runner=ProcessPoolTaskRunner(1), on_cancellation=[hook], flow_run_name="nightly")
    async def nightly():
        await stuck.submit()

    asyncio.run(nightly())
""",
    "an isolated subflow": """
    @flow(isolation="process", on_cancellation=[hook])
    def below():
        hold()

    @flow(on_cancellation=[hook], flow_run_name="nightly")
    def nightly():
        below()

    nightly()
""",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_c_code_that_nothing_interrupts_is_ended_with_its_process(start_held, cli, recorded, wait_until, lives, place):
    process, child = start_held(TOP + place)
    assert "Cancelled" in cli("flow-run", "cancel", "nightly")
    lines = process.end().splitlines()
    assert "hook nightly Cancelled" in lines
    assert process.returncode == 1
    assert "CancelledRun" in process.told
    wait_until(lambda: not lives(child))
    states = {run["state_type"] for run in recorded.task_runs() + recorded.flow_runs()}
    assert states == {"CANCELLED"}, [(run["name"], run["state"]) for run in recorded.task_runs()]


STUCK_ON_A_THREAD = (
    TOP
    + """
    @task
    def stuck():
        say("ready")
        time.sleep(600)

    @flow(flow_run_name="nightly")
    def nightly():
        stuck.submit().result()

    nightly()
"""
)


def test_a_thread_that_cannot_be_interrupted_does_not_keep_the_flow(start_saying, cli, recorded):
    process = start_saying(
        TOP
        + """
    @task(on_cancellation=[hook])
    def stuck():
        say("ready")
        time.sleep(600)

    @flow(on_cancellation=[hook], flow_run_name="nightly")
    def nightly():
        futures = [stuck.submit() for _ in range(3)]
        futures[0].result()

    try:
        nightly()
    except CancelledRun:
        say("the program goes on")
        os._exit(7)
"""
    )
    process.says(*["ready"] * 3)
    cli("flow-run", "cancel", "nightly")
    assert process.end().splitlines()[-1] == "the program goes on"
    assert process.returncode == 7
    assert {run["state_type"] for run in recorded.task_runs() + recorded.flow_runs()} == {"CANCELLED"}


def test_a_program_ends_although_a_thread_is_stuck(start_saying, cli, recorded):
    process = start_saying(STUCK_ON_A_THREAD)
    process.says("ready")
    cli("flow-run", "cancel", "nightly")
    process.end()
    assert process.returncode == 1, process.told
    assert {run["state_type"] for run in recorded.task_runs() + recorded.flow_runs()} == {"CANCELLED"}


@pytest.mark.parametrize("kind", ["", ', isolation="process"'], ids=["in this process", "isolated"])
def test_a_subflow_is_cancelled_alone(start_saying, cli, recorded, kind):
    process = start_saying(
        TOP
        + """
    @task
    def long():
        say("ready")
        while True:
            time.sleep(0.01)

    @flow(on_cancellation=[hook], flow_run_name="below" KIND)
    def below():
        long()

    @flow(on_cancellation=[hook], flow_run_name="above")
    def above():
        try:
            below()
        except CancelledRun as cancelled:
            return "the parent goes on"

    say(above())
""".replace("KIND", kind)
    )
    process.says("ready")
    cli("flow-run", "cancel", "below")
    assert process.end().splitlines() == ["hook below Cancelled", "the parent goes on"]
    assert process.returncode == 0, process.told
    assert {run["name"]: run["state_type"] for run in recorded.flow_runs()} == {"below": "CANCELLED", "above": "COMPLETED"}
    assert {run["state_type"] for run in recorded.task_runs()} == {"CANCELLED"}


def test_a_retry_that_is_waited_for_is_cancelled(start_saying, cli, recorded, wait_until):
    process = start_saying(
        TOP
        + """
    @task(retries=3, retry_delay_seconds=600)
    def fail():
        say("ready")
        raise LookupError

    @flow(on_cancellation=[hook], flow_run_name="nightly")
    def nightly():
        fail()

    nightly()
"""
    )
    process.says("ready")
    wait_until(lambda: [run["state_name"] for run in recorded.task_runs()] == ["AwaitingRetry"])
    cli("flow-run", "cancel", "nightly")
    assert process.end() == "hook nightly Cancelled\n"
    assert {run["state_type"] for run in recorded.task_runs() + recorded.flow_runs()} == {"CANCELLED"}


@pytest.mark.parametrize("runner", ["ThreadPoolTaskRunner(2)", "ProcessPoolTaskRunner(2)", "SequentialTaskRunner()"])
def test_a_cancelled_run_is_resumed(start_saying, cli, recorded, tmp_path, monkeypatch, runner):
    source = """
    @task
    def step(n):
        say("step", n)
        return n

    @task
    def wait_there(n):
        if not os.path.exists("go"):
            say("ready")
            while True:
                time.sleep(0.01)
        return n

    @flow(task_runner=RUNNER, flow_run_name="nightly")
    def nightly():
        values = step.map([1, 2]).result()
        return values + [wait_there.submit(3).result(), step(4)]

    if __name__ == "__main__":
        nightly()
"""
    monkeypatch.chdir(tmp_path)
    process = start_saying(TOP + source.replace("RUNNER", runner), cwd=tmp_path)
    assert sorted(process.lines(3)) == ["ready", "step 1", "step 2"], process.told
    cli("flow-run", "cancel", "nightly")
    process.end()
    (tmp_path / "go").touch()
    said = cli("flow-run", "resume", "nightly")
    assert [line for line in said.splitlines() if line.startswith("step")] == ["step 4"]
    run = recorded.flow_run()
    assert (run["state_type"], run["run_count"]) == ("COMPLETED", 2)
    assert sorted(run["state_type"] for run in recorded.task_runs()) == ["COMPLETED"] * 4


def test_a_program_that_was_stopped_ends_its_run_when_it_continues(start_saying, cli, recorded, suspend):
    """Nobody can stop the code of a process that the system does not let run; it stops as soon as it goes on."""
    process = start_saying(
        TOP
        + """
    @flow(on_cancellation=[hook], flow_run_name="nightly")
    def nightly():
        say("ready")
        time.sleep(600)

    nightly()
"""
    )
    process.says("ready")
    suspend(process)
    cli("flow-run", "cancel", "nightly", "--no-wait")
    process.send_signal(signal.SIGCONT)
    assert process.end() == "hook nightly Cancelled\n"
    assert recorded.flow_run()["state_type"] == "CANCELLED"


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_while_it_is_being_cancelled(start_saying, cli, recorded, times):
    process = start_saying(STUCK_ON_A_THREAD)
    process.says("ready")
    cli("flow-run", "cancel", "nightly", "--no-wait")
    for _ in range(times):
        process.send_signal(signal.SIGINT)
    process.end()
    assert recorded.flow_run()["state_type"] in {"CANCELLED", "CRASHED"}
    assert {run["state_type"] for run in recorded.task_runs()} <= {"CANCELLED", "CRASHED"}


def test_what_is_nested_ends_with_it(start_saying, cli, recorded):
    process = start_saying(
        TOP
        + """
    @task
    def long(n):
        say("ready")
        while True:
            time.sleep(0.01)

    @flow(on_cancellation=[hook])
    def lowest():
        long.map([1, 2]).wait()

    @task(on_cancellation=[hook])
    def between():
        lowest()

    @flow(on_cancellation=[hook], flow_run_name="nightly")
    def nightly():
        between.submit().result()

    nightly()
"""
    )
    process.says(*["ready"] * 2)
    cli("flow-run", "cancel", "nightly")
    lines = process.end().splitlines()
    assert {"hook lowest Cancelled", "hook nightly Cancelled"} <= set(lines), lines
    assert {run["state_type"] for run in recorded.task_runs() + recorded.flow_runs()} == {"CANCELLED"}


def test_a_flows_own_retry_that_is_waited_for_is_cancelled(start_saying, cli, recorded, wait_until):
    process = start_saying(
        TOP
        + """
    @flow(on_cancellation=[hook], flow_run_name="nightly", retries=3, retry_delay_seconds=600)
    def nightly():
        say("ready")
        raise LookupError

    nightly()
"""
    )
    process.says("ready")
    wait_until(lambda: recorded.flow_run()["state_name"] == "AwaitingRetry")
    cli("flow-run", "cancel", "nightly")
    assert process.end() == "hook nightly Cancelled\n"
    assert recorded.flow_run()["state_type"] == "CANCELLED"
