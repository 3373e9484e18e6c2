"""Promise 4 for tasks that are called outside flows: what a process that died has left of them ends by itself."""

import os
import signal

import pytest

SHORT_LEASE = {"TIDEMILL_LEASE_SECONDS": "1"}

CALLED = """
    @task
    def step(n):
        say("step", n)
        if n:
            sys.stdin.readline()
        return n

    step(0)
    step(1)
    say("done")
"""

SUBMITTED = """
    @task
    def step(n):
        say("step")
        sys.stdin.readline()
        return n

    futures = [step.submit(n) for n in range(3)]
    futures.append(step.submit(futures[0]))
    say(*[future.result() for future in futures])
"""

ISOLATED = """
    @task(isolation="process")
    def step():
        say("step", os.getpid())
        time.sleep(600)

    if __name__ == "__main__":
        step()
"""


def kill_once(process, wait_until, recorded, count):
    """Kills a process as soon as so many of its task runs are recorded."""
    wait_until(lambda: len(recorded.task_runs()) == count)
    process.kill()
    process.wait()


def states(cli):
    """The states of all task runs as the command shows them, the newest first."""
    return [run["state_type"] for run in cli("task-run", "ls", "--json")]


def test_a_called_task_has_crashed_with_its_process(start_saying, wait_until, recorded, cli):
    process = start_saying(CALLED)
    process.says("step 0", "step 1")
    kill_once(process, wait_until, recorded, 2)
    assert states(cli) == ["CRASHED", "COMPLETED"]
    run = recorded.task_runs()[0]
    assert run["state"]["message"].startswith(f"The process that ran it is gone (process {process.pid} on host ")
    assert [state["name"] for state in recorded.states(run)] == ["Pending", "Running", "Crashed"]
    assert "Crashed" in cli("task-run", "ls")
    cli("db", "check")


def test_submitted_tasks_have_crashed_with_their_process(start_saying, wait_until, recorded, cli):
    process = start_saying(SUBMITTED)
    process.says(*["step"] * 3)
    kill_once(process, wait_until, recorded, 4)
    assert states(cli) == ["CRASHED"] * 4


def test_an_isolated_task_has_crashed_with_the_process_that_called_it(start_saying, wait_until, recorded, cli):
    process = start_saying(ISOLATED)
    (line,) = process.lines(1)
    wait_until(lambda: [run["state_type"] for run in recorded.task_runs()] == ["RUNNING"])
    kill_once(process, wait_until, recorded, 1)
    assert states(cli) == ["CRASHED"]
    assert line != f"step {process.pid}"


def test_an_isolated_task_whose_own_process_dies_is_ended_by_its_caller(start_saying, wait_until, recorded, cli):
    process = start_saying(ISOLATED)
    (line,) = process.lines(1)
    wait_until(lambda: [run["state_type"] for run in recorded.task_runs()] == ["RUNNING"])
    assert states(cli) == ["RUNNING"]
    os.kill(int(line.removeprefix("step ")), signal.SIGKILL)
    process.end()
    assert process.returncode == 1, process.told
    assert states(cli) == ["FAILED"]


@pytest.mark.parametrize("source", [CALLED, SUBMITTED], ids=["called", "submitted"])
def test_the_tasks_of_a_process_that_lives_are_left_alone(start_saying, wait_until, recorded, cli, source):
    process = start_saying(source)
    assert all(process.lines(2)), process.told
    wait_until(lambda: "RUNNING" in [run["state_type"] for run in recorded.task_runs()])
    assert "CRASHED" not in states(cli)
    process.end("go\n" * 4)
    assert set(states(cli)) == {"COMPLETED"}


def test_a_flow_elsewhere_notices_too(start_saying, say, wait_until, recorded):
    process = start_saying(CALLED)
    process.says("step 0", "step 1")
    kill_once(process, wait_until, recorded, 2)
    say("@flow\ndef other():\n    return 1\n\nother()")
    assert recorded.task_runs()[0]["state_type"] == "CRASHED"


def test_a_process_that_was_stopped_past_its_lease_goes_on(start_saying, wait_until, suspend, recorded, cli):
    """There is no other attempt that it could be fenced from: what it says of its own task counts."""
    process = start_saying(CALLED, env=SHORT_LEASE)
    process.says("step 0", "step 1")
    wait_until(lambda: [run["state_type"] for run in recorded.task_runs()] == ["RUNNING", "COMPLETED"])
    suspend(process)
    wait_until(lambda: states(cli) == ["CRASHED", "COMPLETED"])
    process.send_signal(signal.SIGCONT)
    assert process.end("go\n") == "done\n", process.told
    assert states(cli) == ["COMPLETED", "COMPLETED"]


def test_what_never_became_ready_stays_so_at_the_end_of_its_process(say, cli):
    lines = say(
        """
        @task
        def broken():
            raise OSError("bug")

        @task
        def step(n):
            return n

        future = step.submit(broken.submit())
        future.wait()
        say(future.state.name)
        """
    )
    assert lines == ["NotReady"]
    assert [run["state_name"] for run in cli("task-run", "ls", "--json")] == ["NotReady", "Failed"]
