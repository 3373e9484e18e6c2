"""How a flow that submitted tasks ends, on every task runner."""

import threading

import pytest

from tidemill import (
    State,
    runtime,
)
from tidemill.states import StateType

# The end of the flow


def test_futures_left_alone_are_finished_before_the_flow_ends(on, recorded, tmp_path):
    path = tmp_path / "done"
    pause = on.pause

    @on.task
    async def step(x):
        for _ in range(4):
            await pause()
        with open(path, "a") as file:
            file.write(f"{x}\n")
        return x

    @on.flow
    async def parent():
        last = step.submit(0)
        for _ in range(3):
            last = step.submit(last)
        step.map(range(3))
        return "gone on"

    assert on.run(parent) == "gone on"
    assert len(path.read_text().split()) == 7
    flow_run = recorded.flow_run()
    for run in recorded.task_runs():
        assert run["state_type"] == "COMPLETED"
        assert run["end_time"] <= flow_run["end_time"]


@pytest.mark.parametrize("shape", ["alone", "list", "tuple", "set", "dict", "map"])
def test_a_flow_that_returns_futures_is_judged_by_them(on, shape):
    @on.task
    async def step(x):
        return x

    wrap = {
        "alone": lambda: step.submit(1),
        "list": lambda: [step.submit(1), step.submit(2)],
        "tuple": lambda: (step.submit(1), step.submit(2)),
        "set": lambda: {step.submit(1)},
        "dict": lambda: {"a": step.submit(1)},
        "map": lambda: step.map([1, 2]),
    }[shape]

    @on.flow
    async def parent():
        return wrap()

    state = on.run(parent, return_state=True)
    assert state.is_completed()
    if shape == "alone":
        assert state.data.result() == 1 if isinstance(state.data, State) else state.result() == 1
        return
    assert state.message == "All states completed."
    data = state.data.values() if shape == "dict" else state.data
    assert sorted(one.result() for one in data) == [1, 2][: len(data)]


@pytest.mark.parametrize("shape", ["alone", "list", "dict"])
def test_a_flow_that_returns_a_failed_future_fails(on, shape):
    @on.task
    async def step(x):
        raise LookupError("gone")

    @on.flow
    async def parent():
        future = step.submit(1)
        return {"alone": future, "list": [future], "dict": {"a": future}}[shape]

    with pytest.raises(LookupError, match="gone"):
        on.run(parent)


def test_a_failed_task_that_nobody_looked_at_fails_a_flow_that_returns_none(on, recorded):
    @on.task
    async def step(x):
        return 1 / x

    @on.flow
    async def parent():
        step.submit(1)
        step.submit(0)

    state = on.run(parent, return_state=True)
    assert str(state) == "Failed('1/2 states failed.')"
    assert recorded.flow_run()["state"]["message"] == "1/2 states failed."


def test_a_failed_task_that_nobody_looked_at_leaves_a_flow_that_returns_a_value(on, recorded):
    @on.task
    async def step(x):
        return 1 / x

    @on.flow
    async def parent():
        step.submit(0)
        return "a value"

    assert on.run(parent) == "a value"
    assert recorded.task_run()["state_type"] == "FAILED"


def test_the_result_of_a_flow_that_returns_none_is_the_list_of_states_in_order(on):
    @on.task
    async def step(x):
        return x

    @on.flow
    async def parent():
        step.map([3, 1, 2])

    state = on.run(parent, return_state=True)
    assert state.message == "All states completed."
    assert [one.result() for one in state.result()] == [3, 1, 2]


def test_when_the_flow_fails_what_has_not_started_is_cancelled(on, recorded, tmp_path):
    if not on.overlaps:
        pytest.skip("a task has ended when submit returns, or is the only one under way")
    begun, go = tmp_path / "begun", tmp_path / "go"
    pause = on.pause

    @on.task
    async def slow():
        begun.touch()
        while not go.exists():
            await pause()
        return "slow"

    @on.task
    async def after(x):
        return x

    @on.flow
    async def parent():
        first = slow.submit()
        after.submit(after.submit(first))
        while not begun.exists():
            await on.pause_flow()
        threading.Timer(0.3, go.touch).start()  # by then the flow's function has long been left
        raise LookupError("the flow itself")

    with pytest.raises(LookupError, match="the flow itself"):
        on.run(parent)
    runs = sorted(recorded.task_runs(), key=lambda run: run["id"])
    assert [run["state_type"] for run in runs] == ["COMPLETED", "CANCELLED", "CANCELLED"]
    assert runs[1]["run_count"] == 0
    assert "failed" in runs[1]["state"]["message"]
    assert recorded.flow_run()["state_type"] == "FAILED"


def test_a_second_attempt_of_the_flow_submits_again(on, recorded, tmp_path):
    path = tmp_path / "tries"

    @on.task
    async def step(x):
        with open(path, "a") as file:
            file.write(f"{x}\n")
        return x

    @on.flow(retries=1)
    async def parent():
        values = await on.value(step.map([1, 2]))
        if runtime.flow_run.run_count == 1:
            raise ConnectionError("first attempt")
        return values

    assert on.run(parent) == [1, 2]
    assert sorted(path.read_text().split()) == ["1", "2"]  # what has finished gives its kept result
    assert len(recorded.task_runs()) == 2


def test_one_runner_object_serves_many_flow_runs(on, recorded):
    @on.task
    async def step(x):
        return x

    @on.flow(task_runner=on.new_runner())
    async def parent(x):
        return await on.value(step.submit(x))

    assert [on.run(parent, x) for x in range(2)] == [0, 1]
    assert {run["state_type"] for run in recorded.flow_runs() + recorded.task_runs()} == {"COMPLETED"}


def test_a_wrong_call_raises_like_a_wrong_call_in_python(on, recorded):
    @on.task
    async def step(x):
        return x

    @on.flow
    async def parent():
        with pytest.raises(TypeError, match="'x'"):
            step.submit()
        with pytest.raises(TypeError, match="'z'"):
            step.submit(1, z=2)
        return 1

    assert on.run(parent) == 1
    assert recorded.task_runs() == []


def test_a_task_that_returns_a_state_decides_itself(on):
    from tidemill.states import Completed, Failed

    @on.task
    async def decide(good):
        return Completed(data=5, message="by hand") if good else Failed(message="by hand")

    @on.flow
    async def parent():
        good, bad = await on.end(decide.submit(True)), await on.end(decide.submit(False))
        return good.result(), good.state.message, bad.state.type, bad.state.message

    assert on.run(parent) == (5, "by hand", StateType.FAILED, "by hand")


def test_system_exit_in_a_task_is_a_crash_of_that_run(on, recorded):
    if on.in_this_process and ((on.flow_is_async and on.task_is_async) or not on.overlaps):
        pytest.skip("the task runs in the flow's own thread, which it ends")

    @on.task
    async def leave():
        raise SystemExit(3)

    @on.task
    async def stay():
        return "here"

    @on.flow
    async def parent():
        left = await on.end(leave.submit())
        return left.state.type, await on.value(stay.submit())

    assert on.run(parent) == (StateType.CRASHED, "here")
    assert recorded.task_run("leave")["state_type"] == "CRASHED"
