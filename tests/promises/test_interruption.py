"""Promise 8 too. Ctrl-C and SIGTERM end a run as it should end: reason recorded, hooks called, nothing left hanging."""

import signal

import pytest

PLAIN = """
import sys, time
from tidemill import flow, task

def told(thing, run, state):
    print("hook", state.type.value, flush=True)

@task
def stuck():
    print("ready", flush=True)
    time.sleep(600)

@flow(on_crashed=[told], on_cancellation=[told])
def below():
    {body}

@flow(on_crashed=[told], on_cancellation=[told])
def interrupted():
    {outer}

interrupted()
print("never reached")
"""

ASYNC = """
import asyncio, sys
from tidemill import flow, task

async def told(thing, run, state):
    print("hook", state.type.value, flush=True)

@task
async def stuck():
    print("ready", flush=True)
    await asyncio.sleep(600)

@flow(on_crashed=[told], on_cancellation=[told])
async def below():
    {body}

@flow(on_crashed=[told], on_cancellation=[told])
async def interrupted():
    {outer}

asyncio.run(interrupted())
print("never reached")
"""

WHERE = {
    "in a task": ("pass", "{call}stuck()"),
    "in the flow": ("pass", 'print("ready", flush=True); {wait}'),
    "in a subflow": ("{call}stuck()", "{call}below()"),
}

SIGNALS = {signal.SIGINT: ("interrupt", {-2, 130}), signal.SIGTERM: ("terminat", {-15, 143})}


def script(colour, where):
    body, outer = WHERE[where]
    words = (
        {"call": "await ", "wait": "await asyncio.sleep(600)"} if colour == "async" else {"call": "", "wait": "time.sleep(600)"}
    )
    return (ASYNC if colour == "async" else PLAIN).format(body=body.format(**words), outer=outer.format(**words))


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("signum", SIGNALS, ids=lambda signum: signum.name)
@pytest.mark.parametrize("colour", ["plain", "async"])
def test_a_signal_ends_the_run(start_script, recorded, colour, signum, where):
    process = start_script(script(colour, where))
    process.says("ready")
    process.send_signal(signum)
    out = process.end()
    reason, codes = SIGNALS[signum]
    assert process.returncode in codes, process.told
    assert "never reached" not in out

    runs = recorded.flow_runs()
    assert len(runs) == (2 if where == "in a subflow" else 1)
    assert out.splitlines() == ["hook CRASHED"] * len(runs)
    for run in runs:
        assert run["state_type"] == "CRASHED", run["state"]
        assert run["end_time"] is not None
    (outermost,) = (run for run in runs if run["parent_task_run_id"] is None)
    assert reason in outermost["state"]["message"].lower()
    for task_run in recorded.task_runs():
        assert task_run["state_type"] == "CRASHED", task_run["state"]


def test_a_second_ctrl_c_is_obeyed_too(start_script, recorded):
    process = start_script(
        """
        import time
        from tidemill import flow

        def slow(flow, run, state):
            print("in the hook", flush=True)
            time.sleep(600)

        @flow(on_crashed=[slow])
        def interrupted():
            print("ready", flush=True)
            time.sleep(600)

        interrupted()
        """
    )
    process.says("ready")
    process.send_signal(signal.SIGINT)
    process.says("in the hook")
    process.send_signal(signal.SIGINT)
    process.end()
    assert process.returncode in {-2, 130}
    assert recorded.flow_run()["state_type"] == "CRASHED"


def test_code_that_catches_the_interrupt_may_go_on(start_script, recorded):
    process = start_script(
        """
        import time
        from tidemill import flow, task

        @task
        def stuck():
            print("ready", flush=True)
            time.sleep(600)

        @flow
        def interrupted():
            try:
                stuck()
            except KeyboardInterrupt:
                return "went on"

        print(interrupted())
        """
    )
    process.says("ready")
    process.send_signal(signal.SIGINT)
    out = process.end()
    assert (process.returncode, out) == (0, "went on\n"), process.told
    assert recorded.flow_run()["state_type"] == "COMPLETED"
    assert recorded.task_run()["state_type"] == "CRASHED"


def test_a_handler_of_the_users_own_is_kept(start_script, recorded):
    process = start_script(
        """
        import signal, threading
        from tidemill import flow

        asked = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: asked.set())

        @flow
        def patient():
            print("ready", flush=True)
            while not asked.wait(0.01):
                pass
            return "asked"

        print(patient())
        """
    )
    process.says("ready")
    process.send_signal(signal.SIGTERM)
    out = process.end()
    assert (process.returncode, out) == (0, "asked\n"), process.told
    assert recorded.flow_run()["state_type"] == "COMPLETED"


def test_after_a_run_signals_do_what_they_did_before(run_script):
    done = run_script(
        """
        import signal
        from tidemill import flow, task

        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]

        @task(timeout_seconds=600)
        def step():
            return 1

        @flow(timeout_seconds=600)
        def parent():
            return step()

        parent()
        print(before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)])
        print(signal.getitimer(signal.ITIMER_REAL))
        """
    )
    assert done.stdout.splitlines() == ["True", "(0.0, 0.0)"], done.stderr


@pytest.mark.parametrize("colour", ["plain", "async"])
def test_sys_exit_is_a_crash_and_keeps_its_code(run_script, recorded, colour):
    source = """
    import asyncio, sys
    from tidemill import flow

    @flow(on_crashed=[lambda flow, run, state: print("hook", state.message)])
    {prefix}def leaving():
        sys.exit(7)

    {call}
    """
    words = {"prefix": "async ", "call": "asyncio.run(leaving())"} if colour == "async" else {"prefix": "", "call": "leaving()"}
    done = run_script(source.format(**words))
    assert done.returncode == 7, done.stderr
    assert done.stdout.startswith("hook ")
    run = recorded.flow_run()
    assert run["state_type"] == "CRASHED"
    assert "exit" in run["state"]["message"]


def test_a_signal_while_another_thread_runs_a_flow(start_script, recorded):
    process = start_script(
        """
        import threading, time
        from tidemill import flow

        @flow
        def in_thread():
            print("ready", flush=True)
            time.sleep(600)

        threading.Thread(target=in_thread, daemon=True).start()
        time.sleep(600)
        """
    )
    process.says("ready")
    process.send_signal(signal.SIGTERM)
    process.end()
    assert process.returncode in {-15, 143}
