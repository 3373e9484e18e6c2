"""A task or flow with `isolation="process"` whose process dies: that one fails, and says why; the program goes on."""

import os
import signal

import pytest

from tidemill import flow, runtime, task
from tidemill.exceptions import ChildDied
from tidemill.states import StateType

pytestmark = pytest.mark.program


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def left():
    os._exit(3)


def crashed():
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)


def bad_pointer():
    import ctypes
    import faulthandler

    faulthandler.disable()
    ctypes.string_at(0)


DEATHS = {
    "SIGKILL": (killed, "killed by signal SIGKILL"),
    "os._exit": (left, "exited with code 3 before it replied"),
    "SIGSEGV": (crashed, "killed by signal SIGSEGV"),
    "a bad pointer": (bad_pointer, "killed by signal SIGSEGV"),
}


@pytest.fixture(params=DEATHS.values(), ids=DEATHS)
def death(request):
    return request.param


def test_a_process_that_dies_fails_its_task_only(colour, begin, recorded, death):
    die, told = death

    @colour.isolated
    async def dangerous():
        die()

    @colour.isolated
    async def harmless():
        return 1

    @flow
    @colour.paint
    async def parent():
        state = await begin(dangerous, return_state=True)
        assert state.type is StateType.FAILED
        with pytest.raises(ChildDied, match=told):
            state.result()
        return await begin(harmless)

    assert colour.run(parent) == 1
    (run,) = (run for run in recorded.task_runs() if run["name"].startswith("dangerous"))
    assert (run["state_type"], run["run_count"]) == ("FAILED", 1)
    assert any(told in log["message"] for log in recorded.logs(task_run=run))


def test_a_process_that_dies_is_retried(colour, begin, recorded, death, tmp_path):
    die, _ = death
    place = str(tmp_path / "once")

    @colour.isolated(retries=2)
    async def dangerous():
        if not os.path.exists(place):
            open(place, "w").close()
            die()
        return runtime.task_run.run_count

    @flow
    @colour.paint
    async def parent():
        return await begin(dangerous)

    assert colour.run(parent) == 2
    names = [state["name"] for state in recorded.states(recorded.task_run())]
    assert names[-3:] == ["AwaitingRetry", "Retrying", "Completed"]


def test_one_that_dies_each_time_is_given_up(recorded):
    @task(isolation="process", retries=2)
    def dangerous():
        killed()

    @flow
    def parent():
        with pytest.raises(ChildDied):
            dangerous()
        return 1

    assert parent() == 1
    run = recorded.task_run()
    assert (run["state_type"], run["run_count"]) == ("FAILED", 3)


def test_a_flow_whose_process_dies_fails(colour, recorded, death):
    die, told = death

    @flow(isolation="process")
    @colour.paint
    async def dangerous():
        die()

    with pytest.raises(ChildDied, match=told):
        colour.run(dangerous)
    run = recorded.flow_run()
    assert (run["state_type"], run["run_count"]) == ("FAILED", 1)


def test_a_flow_whose_process_dies_is_retried_and_repeats_no_task(colour, recorded, death, tmp_path):
    die, _ = death
    place = str(tmp_path / "steps")
    is_async = colour.is_async

    @task
    @colour.paint
    async def step(x):
        with open(place, "a") as file:
            file.write(f"{x}\n")
        return x

    @flow(isolation="process", retries=1)
    @colour.paint
    async def dangerous():
        values = []
        for x in range(3):
            given = step(x)
            values.append(await given if is_async else given)
            if x == 1 and runtime.flow_run.run_count == 1:
                die()
        return values

    assert colour.run(dangerous) == [0, 1, 2]
    with open(place) as file:
        assert file.read().split() == ["0", "1", "2"]
    assert {run["state_type"] for run in recorded.task_runs()} == {"COMPLETED"}
    assert recorded.flow_run()["run_count"] == 2
