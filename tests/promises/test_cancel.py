"""Promise 8. Cancelling from another process stops the code, and what was finished stays finished."""

import pytest

SCRIPT = """
    import asyncio
    from tidemill import ProcessPoolTaskRunner
    from tidemill.exceptions import CancelledRun

    def hook(thing, run, state):
        say("hook", thing.name, state.name)

    @task
    def finished():
        return 1

    @task
    def sleeping(n=0):
        say("ready")
        time.sleep(600)

    @task
    def polling(n=0):
        say("ready")
        while True:
            time.sleep(0.01)

    @task
    def busy(n=0):
        say("ready")
        while True:
            pass

    @task(retries=5)
    def stubborn(n=0):
        say("ready")
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                say("caught")

    @task
    async def waiting(n=0):
        say("ready")
        await asyncio.sleep(600)

    @flow(on_cancellation=[hook])
    def part():
        PART

    @flow(on_cancellation=[hook], idempotency_key="nightly", OPTIONS)
    def nightly():
        finished()
        BODY

    @flow(on_cancellation=[hook], idempotency_key="nightly")
    async def nightly_async():
        finished()
        BODY_ASYNC

    try:
        CALL
    except CancelledRun as cancelled:
        say("cancelled:", cancelled)
    say("the program goes on")
"""


def script(body="pass", *, part="pass", options="", body_async=None):
    call = "nightly()" if body_async is None else "asyncio.run(nightly_async())"
    words = {"BODY_ASYNC": body_async or "pass", "BODY": body, "PART": part, "OPTIONS": options, "CALL": call}
    text = SCRIPT
    for word, value in words.items():
        text = text.replace(word, value)
    return text


PLACES = {
    "in a task that sleeps": ({"body": "sleeping()"}, 1),
    "in a task that is busy": ({"body": "busy()"}, 1),
    "in a task that catches every Exception": ({"body": "stubborn()"}, 1),
    "in the flow itself": ({"body": "say('ready'); time.sleep(600)"}, 1),
    "in a subflow": ({"body": "part()", "part": "sleeping()"}, 1),
    "in submitted tasks": ({"body": "polling.map(range(3)).result()"}, 3),
    "where nobody waits for submitted tasks": ({"body": "polling.map(range(3))"}, 3),
    "in an async task": ({"body_async": "await waiting()"}, 1),
    "in gathered tasks": ({"body_async": "await asyncio.gather(waiting(1), waiting(2))"}, 2),
    "in submitted async tasks": ({"body_async": "await waiting.map(range(3))"}, 3),
    "in an async flow": ({"body_async": "say('ready'); await asyncio.sleep(600)"}, 1),
    "in child processes": ({"body": "sleeping.map(range(2)).result()", "options": "task_runner=ProcessPoolTaskRunner(2)"}, 2),
}


@pytest.mark.parametrize(("what", "ready"), PLACES.values(), ids=PLACES)
def test_a_running_flow_is_cancelled(start_saying, cli, recorded, what, ready):
    process = start_saying(script(**what))
    process.says(*["ready"] * ready)
    top = next(run for run in recorded.flow_runs() if run["parent_flow_run_id"] is None)
    said = cli("flow-run", "cancel", top["name"], "--reason", "wrong day")
    assert "Cancelled" in said
    lines = process.end().splitlines()
    assert process.returncode == 0, process.told
    assert {run["state_type"] for run in recorded.flow_runs()} == {"CANCELLED"}
    names = [state["name"] for state in recorded.states(top)]
    assert names == ["Pending", "Running", "Cancelling", "Cancelled"]
    states = [run["state_type"] for run in recorded.task_runs()]
    assert set(states) <= {"CANCELLED", "COMPLETED"}
    assert states.count("COMPLETED") == 1
    assert f"hook {top['flow_name']} Cancelled" in lines
    assert lines[-2:] == [f"cancelled: Flow run {top['name']!r} was cancelled: wrong day", "the program goes on"]


def test_what_was_finished_is_not_repeated_when_it_is_called_again(start_saying, say, cli, recorded):
    source = """
        from tidemill.exceptions import CancelledRun

        @task
        def step(n):
            say("step", n)
            return n

        @flow(idempotency_key="nightly")
        def nightly():
            values = [step(1)]
            MOMENT
            return values + [step(2)]

        try:
            say(nightly())
        except CancelledRun:
            say("cancelled")
    """
    process = start_saying(source.replace("MOMENT", 'say("ready"); time.sleep(600)'))
    process.says("step 1", "ready")
    cli("flow-run", "cancel", recorded.flow_run()["name"])
    assert process.end() == "cancelled\n"
    assert say(source.replace("MOMENT", "pass")) == ["step 2", "[1, 2]"]
    assert recorded.flow_run()["run_count"] == 2


def test_a_run_whose_process_is_gone_is_not_left_to_be_cancelled(start_saying, cli, recorded):
    process = start_saying(script("sleeping()"))
    process.says("ready")
    process.kill()
    process.wait()
    name = recorded.flow_run()["name"]
    assert "already ended" in cli("flow-run", "cancel", name, code=1)
    assert recorded.flow_run()["state_type"] == "CRASHED"


def test_a_completed_run_cannot_be_cancelled(say, cli, recorded):
    say(script())
    assert "already ended" in cli("flow-run", "cancel", recorded.flow_run()["name"], code=1)
    assert recorded.flow_run()["state_type"] == "COMPLETED"


def test_whoever_asks_twice_is_no_obstacle(start_saying, cli, recorded):
    process = start_saying(script("polling.map(range(3)).result()"))
    process.says(*["ready"] * 3)
    name = recorded.flow_run()["name"]
    cli("flow-run", "cancel", name, "--no-wait")
    process.end()
    cli("flow-run", "cancel", name, code=1)
    names = [state["name"] for state in recorded.states(recorded.flow_run())]
    assert names == ["Pending", "Running", "Cancelling", "Cancelled"]


def test_only_the_flow_that_is_meant_is_cancelled(start_saying, cli, recorded):
    process = start_saying(
        """
        from tidemill.exceptions import CancelledRun

        @flow
        def part(name, body):
            try:
                body()
            finally:
                say(name, "ends")

        def run(name, body):
            try:
                part(name, body)
            except CancelledRun:
                say(name, "cancelled")

        def long():
            say("ready")
            while True:
                time.sleep(0.01)

        def line():
            say("ready")
            sys.stdin.readline()

        named = part.with_options(flow_run_name="run-{name}")
        part = named
        threads = [threading.Thread(target=run, args=pair) for pair in [("a", long), ("b", line)]]
        for thread in threads: thread.start()
        threads[0].join()
        say("first is over")
        threads[1].join()
        """
    )
    process.says(*["ready"] * 2)
    cli("flow-run", "cancel", "run-a", "--no-wait")
    process.says("a ends", "a cancelled", "first is over")
    assert process.end("go\n") == "b ends\n"
    assert {run["name"]: run["state_type"] for run in recorded.flow_runs()} == {"run-a": "CANCELLED", "run-b": "COMPLETED"}


def test_a_call_that_nothing_interrupts_is_stopped_in_a_process_of_its_own(start_saying, cli, recorded, wait_until, lives):
    process = start_saying(
        """
        import re
        from tidemill.exceptions import CancelledRun

        @task(isolation="process")
        def endless():
            say(os.getpid())
            re.match("(a+)+b", "a" * 60)

        @flow
        def nightly():
            endless()

        if __name__ == "__main__":
            try:
                nightly()
            except CancelledRun:
                say("cancelled")
        """
    )
    (child,) = map(int, process.lines(1))
    cli("flow-run", "cancel", recorded.flow_run()["name"])
    assert process.end() == "cancelled\n"
    wait_until(lambda: not lives(child))
    assert {run["state_type"] for run in recorded.task_runs() + recorded.flow_runs()} == {"CANCELLED"}
