"""Promise 8. A time limit stops the code: what blocks is interrupted, and the state tells the truth in any case."""

import asyncio
import threading

import pytest

from tidemill import flow, task
from tidemill.exceptions import FlowRunTimeoutError, TaskRunTimeoutError, TidemillError

PARTS = {
    "sleep": "time.sleep(600)",
    "socket": "pair = socket.socketpair(); pair[0].recv(1)",
    "subprocess": "subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])",
    "busy loop": "\n    while True:\n        pass",
    "event": "threading.Event().wait()",
    "input from a pipe": "os.read(os.pipe()[0], 1)",
    "loop that catches": "\n    while True:\n        try: time.sleep(600)\n        except ValueError: pass",
}

SCRIPT = """
import os, socket, subprocess, sys, threading, time
from tidemill import flow, task

@{decorator}(timeout_seconds=0.3)
def limited():
    {part}

try:
    limited()
except TimeoutError as error:
    print(type(error).__name__)
"""


@pytest.mark.parametrize("decorator", ["flow", "task"])
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS.keys())
def test_what_blocks_on_the_main_thread_is_interrupted(run_script, recorded, decorator, part):
    done = run_script(SCRIPT.format(decorator=decorator, part=part), timeout=60)
    assert (done.returncode, done.stdout) == (0, f"{decorator.capitalize()}RunTimeoutError\n"), done.stderr
    run = recorded.flow_run() if decorator == "flow" else recorded.task_run()
    assert (run["state_type"], run["state_name"]) == ("FAILED", "TimedOut")
    assert "0.3 second" in run["state"]["message"]


@pytest.mark.parametrize(
    ("decorator", "error", "word"), [(flow, FlowRunTimeoutError, "Flow"), (task, TaskRunTimeoutError, "Task")]
)
def test_the_error_is_a_timeout_error_and_ours(decorator, error, word):
    @decorator(timeout_seconds=0.05)
    def limited():
        threading.Event().wait()

    with pytest.raises(error, match=f"{word} run exceeded timeout of 0.05 second") as caught:
        limited()
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, TidemillError)
    state = limited(return_state=True)
    assert (state.name, state.is_failed()) == ("TimedOut", True)


def in_thread(call):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    thread.join(120)
    assert not thread.is_alive()
    return answers[0]


@pytest.mark.parametrize("decorator", [flow, task], ids=["flow", "task"])
def test_a_busy_loop_on_another_thread_is_interrupted(decorator):
    @decorator(timeout_seconds=0.2)
    def limited():
        while True:
            pass

    state = in_thread(lambda: limited(return_state=True))
    assert (state.name, state.is_failed()) == ("TimedOut", True)


def test_what_cannot_be_interrupted_on_another_thread_is_told_as_it_was(run_script, recorded):
    done = run_script(
        """
        import threading, time
        from tidemill import task

        @task(timeout_seconds=0.1)
        def limited():
            time.sleep(1)
            return "too late"

        thread = threading.Thread(target=lambda: print(limited(return_state=True).name))
        thread.start()
        thread.join()
        """
    )
    assert done.stdout == "TimedOut\n", done.stderr
    run = recorded.task_run()
    assert (run["state_type"], run["state_name"]) == ("FAILED", "TimedOut")


def test_a_limit_that_is_not_reached_changes_nothing():
    @task(timeout_seconds=600)
    def step(x):
        return x + 1

    @flow(timeout_seconds=600)
    def parent():
        return [step(n) for n in range(20)]

    assert parent() == list(range(1, 21))
    assert in_thread(parent) == list(range(1, 21))


def test_the_inner_limit_stops_the_task_and_the_flow_goes_on():
    @task(timeout_seconds=0.1)
    def limited():
        threading.Event().wait()

    @flow(timeout_seconds=600)
    def parent():
        return limited(return_state=True).name, "went on"

    assert parent() == ("TimedOut", "went on")


def test_the_outer_limit_stops_the_flow_inside_the_task(run_script, recorded):
    done = run_script(
        """
        import time
        from tidemill import flow, task

        @task(timeout_seconds=600)
        def patient():
            time.sleep(600)

        @flow(timeout_seconds=1)
        def hurried():
            patient()

        try:
            hurried()
        except TimeoutError as error:
            print(type(error).__name__)
        """,
        timeout=60,
    )
    assert done.stdout == "FlowRunTimeoutError\n", done.stderr
    assert recorded.flow_run()["state_name"] == "TimedOut"
    task_run = recorded.task_run()
    assert task_run["end_time"] is not None
    assert task_run["state_name"] != "Completed"


def test_the_outer_limit_still_counts_after_the_inner_was_reached():
    @task(timeout_seconds=0.1)
    def limited():
        threading.Event().wait()

    @flow(timeout_seconds=0.5)
    def parent():
        while True:
            limited(return_state=True)

    assert parent(return_state=True).name == "TimedOut"


def test_every_try_has_the_whole_limit():
    tries = []

    @task(timeout_seconds=0.1, retries=2)
    def limited():
        tries.append(1)
        if len(tries) < 3:
            threading.Event().wait()
        return "third"

    assert limited() == "third"


def test_a_limit_reached_while_the_code_cleans_up_lets_it_clean_up():
    seen = []

    @task(timeout_seconds=0.1)
    def limited():
        try:
            threading.Event().wait()
        finally:
            seen.append("cleaned up")

    assert limited(return_state=True).name == "TimedOut"
    assert seen == ["cleaned up"]


def test_the_log_shows_where_the_code_was_and_none_of_our_frames(recorded):
    @task(timeout_seconds=0.1)
    def limited():
        threading.Event().wait()

    limited(return_state=True)
    (told,) = (log["message"] for log in recorded.logs() if log["message"].startswith("Encountered exception"))
    assert "in limited" in told
    assert "/tidemill/engine/" not in told


def test_a_timeout_error_of_the_users_own_is_an_ordinary_failure():
    @task(timeout_seconds=600)
    def own():
        raise TimeoutError("the server did not answer")

    state = own(return_state=True)
    assert (state.name, state.message) == ("Failed", "Task run encountered an exception.")


class TestAsync:
    @pytest.mark.parametrize("decorator", [flow, task], ids=["flow", "task"])
    def test_an_await_is_interrupted(self, decorator):
        @decorator(timeout_seconds=0.1)
        async def limited():
            await asyncio.Event().wait()

        state = asyncio.run(self.state_of(limited))
        assert (state.name, state.is_failed()) == ("TimedOut", True)
        with pytest.raises(TimeoutError):
            asyncio.run(self.value_of(limited))

    def test_a_plain_task_in_an_async_flow_is_interrupted(self):
        @task(timeout_seconds=0.1)
        def limited():
            threading.Event().wait()

        @flow
        async def parent():
            return limited(return_state=True).name, "went on"

        assert asyncio.run(parent()) == ("TimedOut", "went on")

    def test_nested_limits(self):
        @task(timeout_seconds=0.1)
        async def inner():
            await asyncio.Event().wait()

        @task(timeout_seconds=600)
        async def patient():
            await asyncio.Event().wait()

        @flow(timeout_seconds=0.5)
        async def outer():
            first = await inner(return_state=True)
            assert first.name == "TimedOut"
            await patient()

        assert asyncio.run(self.state_of(outer)).name == "TimedOut"

    def test_side_by_side_each_has_its_own(self):
        @task(timeout_seconds=0.1)
        async def limited(event):
            await event.wait()
            return "released"

        @flow
        async def parent():
            event = asyncio.Event()
            stuck, free = limited(asyncio.Event(), return_state=True), limited(event, return_state=True)
            event.set()
            return [state.name for state in await asyncio.gather(stuck, free)]

        assert asyncio.run(parent()) == ["TimedOut", "Completed"]

    def test_a_cancellation_from_outside_is_not_mistaken_for_the_limit(self):
        @task(timeout_seconds=600)
        async def limited(started):
            started.set()
            await asyncio.Event().wait()

        async def main():
            started = asyncio.Event()
            running = asyncio.create_task(limited(started))
            await started.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

        asyncio.run(main())

    @staticmethod
    async def state_of(limited):
        return await limited(return_state=True)

    @staticmethod
    async def value_of(limited):
        return await limited()
