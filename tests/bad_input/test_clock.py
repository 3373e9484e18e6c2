"""A clock that jumps: a run's history never goes back, and nothing waits for a time that passed differently."""

import contextlib
import datetime

import pytest

from tidemill import clock, flow, task


def times(recorded, run):
    return [datetime.datetime.fromisoformat(state["timestamp"]) for state in recorded.states(run)]


@pytest.mark.parametrize("seconds", [-3600, -1, 3600], ids=["an hour back", "a second back", "an hour forward"])
def test_the_times_of_a_run_never_decrease(recorded, seconds):
    @task
    def below():
        with clock.travel(seconds):
            return inner()

    @task
    def inner():
        return 1

    @flow
    def parent():
        first = below()
        with clock.travel(seconds):
            return first + below()

    assert parent() == 2
    runs = [recorded.flow_run(), *recorded.task_runs()]
    assert len(runs) == 5
    for run in runs:
        history = times(recorded, run)
        assert history == sorted(history)
        assert run["start_time"] <= run["end_time"]
        assert run["total_run_time"] >= 0


def test_the_clock_jumps_back_while_a_run_runs(recorded):
    @task
    def jumping(contexts):
        contexts.enter_context(clock.travel(-86_400))
        return 1

    @flow
    def parent(contexts):
        return jumping(contexts)

    with contextlib.ExitStack() as contexts:
        assert parent(contexts) == 1
    for run in (recorded.flow_run(), recorded.task_run()):
        history = times(recorded, run)
        assert history == sorted(history)
        assert run["start_time"] <= run["end_time"]
        assert 0 <= run["total_run_time"] < 86_400


def test_the_clock_jumps_back_while_a_retry_waits(recorded):
    tries = []

    @task(retries=2, retry_delay_seconds=0.01)
    def unsteady(contexts):
        tries.append(1)
        contexts.enter_context(clock.travel(-3600))
        if len(tries) < 3:
            raise ConnectionError
        return len(tries)

    with contextlib.ExitStack() as contexts:
        assert unsteady(contexts) == 3
    history = times(recorded, recorded.task_run())
    assert history == sorted(history)


def test_an_earlier_clock_in_the_next_process_breaks_nothing(run_script, recorded):
    source = """
    import sys
    from tidemill import clock, flow, task

    @task
    def step():
        return 1

    @flow
    def parent():
        return step()

    with clock.travel(float(sys.argv[1])):
        print(parent())
    """
    for seconds in ("7200", "0", "-7200"):
        done = run_script(source, seconds)
        assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert [run["state_type"] for run in recorded.flow_runs()] == ["COMPLETED"] * 3
