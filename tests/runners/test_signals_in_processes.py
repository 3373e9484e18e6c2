"""Programs whose tasks run in child processes, or outside of flows, that are asked to end: every task run ends too."""

import signal

import pytest

SIGNALS = [(signal.SIGINT, {-2, 130}), (signal.SIGTERM, {-15, 143})]

POOL = """
import sys, time
from tidemill import flow, task, ProcessPoolTaskRunner

@task
def stuck():
    sys.stdout.write("ready\\n")  # in one piece, also where PYTHONUNBUFFERED is set: two processes say it at once
    sys.stdout.flush()
    for _ in range(60_000):
        time.sleep(0.01)

@flow(task_runner=ProcessPoolTaskRunner(2))
def interrupted():
    futures = [stuck.submit() for _ in range(3)]
    futures[0].result()

interrupted()
"""

ALONE = """
import sys, threading, time
from tidemill import task

def the_end_is_waited_for():
    frame = sys._current_frames()[threading.main_thread().ident]
    while frame is not None and frame.f_code.co_name != "_acquire":
        frame = frame.f_back
    return frame is not None

@task
def stuck():
    while not the_end_is_waited_for():
        time.sleep(0.01)
    print("ready", flush=True)
    for _ in range(60_000):
        time.sleep(0.01)

stuck.submit()
"""


@pytest.mark.parametrize("attempt", range(3))
@pytest.mark.parametrize(("signum", "codes"), SIGNALS, ids=["INT", "TERM"])
def test_a_signal_while_processes_execute_tasks(start_script, recorded, signum, codes, attempt):
    process = start_script(POOL)
    process.says(*["ready"] * 2)
    process.send_signal(signum)
    process.end()
    assert process.returncode in codes, process.told
    assert recorded.flow_run()["state_type"] == "CRASHED"
    assert {run["state_type"] for run in recorded.task_runs()} <= {"CANCELLED", "CRASHED"}


@pytest.mark.parametrize(("signum", "codes"), SIGNALS, ids=["INT", "TERM"])
def test_a_signal_while_the_interpreter_waits_for_tasks_outside_a_flow(start_script, recorded, signum, codes):
    process = start_script(ALONE)
    process.says("ready")
    process.send_signal(signum)
    process.end()
    assert process.returncode in codes, process.told
    assert recorded.task_run()["state_type"] in {"CANCELLED", "CRASHED"}
