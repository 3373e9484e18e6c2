"""The next attempt of a flow run: what has finished gives its kept result, and only the rest is executed."""

import asyncio
import time

import pytest

from tidemill import flow, runtime, task
from tidemill.exceptions import ParameterTypeError, TaskRunTimeoutError

KEY = "the only run"


class Executed(list):
    """What was executed since the last look."""

    def since(self):
        seen = list(self)
        self.clear()
        return seen


@pytest.fixture
def executed():
    return Executed()


def resumable(colour, body, **options):
    return flow(name="resumable", idempotency_key=KEY, **options)(colour.paint(body))


def work(colour, executed, **options):
    """A task that notes its input and gives it back, plus one."""

    @task(**options)
    @colour.paint
    async def work(n):
        executed.append(n)
        return n + 1

    return work


def test_finished_tasks_give_their_results_and_the_rest_is_executed(colour, executed, recorded):
    step = work(colour, executed)
    problems = [OSError("disk")]

    async def three_steps():
        first = await colour.call(step, 10)
        second = await colour.call(step, first)
        if problems:
            raise problems.pop()
        return await colour.call(step, second)

    once_more = resumable(colour, three_steps)
    with pytest.raises(OSError, match="disk"):
        colour.run(once_more)
    assert executed.since() == [10, 11]
    assert colour.run(once_more) == 13
    assert executed.since() == [12]
    run = recorded.flow_run()
    assert (run["state_type"], run["run_count"]) == ("COMPLETED", 2)
    assert [one["run_count"] for one in recorded.task_runs()] == [1, 1, 1]


def test_the_log_says_how_many_results_are_kept(colour, executed, recorded):
    step = work(colour, executed)
    problems = [OSError("disk")]

    async def two_steps():
        await colour.call(step, 1)
        await colour.call(step, 2)
        if problems:
            raise problems.pop()

    once_more = resumable(colour, two_steps)
    colour.run(once_more, return_state=True)
    colour.run(once_more)
    assert "Attempt 2: 2 of 2 task runs have finished before and give their kept results." in [
        line["message"] for line in recorded.logs(recorded.flow_run())
    ]


def test_every_attempt_is_in_the_history(colour, recorded):
    problems = [OSError("first"), OSError("second")]

    async def third_time_lucky():
        if problems:
            raise problems.pop(0)
        return runtime.flow_run.run_count

    once_more = resumable(colour, third_time_lucky)
    colour.run(once_more, return_state=True)
    colour.run(once_more, return_state=True)
    assert colour.run(once_more) == 3
    states = [state["name"] for state in recorded.states(recorded.flow_run())]
    assert states == ["Pending", "Running", "Failed", "Retrying", "Failed", "Retrying", "Completed"]


def test_a_failed_task_is_executed_again_also_when_its_failure_was_caught(colour, executed):
    problems = [ValueError("not yet")]

    @task
    @colour.paint
    async def unsteady():
        executed.append("unsteady")
        if problems:
            raise problems.pop()
        return "better"

    async def forgiving():
        state = await colour.call(unsteady, return_state=True)
        if state.is_failed():
            raise OSError("the flow fails for another reason")
        return state.result()

    once_more = resumable(colour, forgiving)
    colour.run(once_more, return_state=True)
    assert colour.run(once_more) == "better"
    assert executed == ["unsteady"] * 2


def test_a_task_has_all_its_retries_in_every_attempt(colour, executed, recorded):
    @task(retries=2)
    @colour.paint
    async def hopeless():
        executed.append(runtime.task_run.run_count)
        raise ValueError("never")

    async def calls_it():
        await colour.call(hopeless)

    once_more = resumable(colour, calls_it)
    for _ in range(2):
        with pytest.raises(ValueError, match="never"):
            colour.run(once_more)
    assert executed == [1, 2, 3, 4, 5, 6]
    run = recorded.task_run()
    names = [state["name"] for state in recorded.states(run)]
    attempt = ["AwaitingRetry", "Retrying", "AwaitingRetry", "Retrying", "Failed"]
    assert names == ["Pending", "Running", *attempt, "Pending", "Retrying", *attempt]


async def linger(colour):
    await asyncio.sleep(60) if colour.is_async else time.sleep(60)


def test_a_task_that_was_stopped_by_its_limit_is_executed_again(colour, executed):
    @task(timeout_seconds=0.1)
    @colour.paint
    async def slow():
        executed.append("slow")
        if len(executed) == 1:
            await linger(colour)
        return "in time"

    async def calls_it():
        return await colour.call(slow)

    once_more = resumable(colour, calls_it)
    with pytest.raises(TaskRunTimeoutError):
        colour.run(once_more)
    assert colour.run(once_more) == "in time"


def test_a_flow_that_was_stopped_by_its_limit_keeps_what_its_tasks_have_done(colour, executed, recorded):
    step = work(colour, executed)

    async def too_long():
        value = await colour.call(step, 1)
        if runtime.flow_run.run_count == 1:
            await linger(colour)
        return value

    once_more = resumable(colour, too_long, timeout_seconds=1)
    assert colour.run(once_more, return_state=True).name == "TimedOut"
    assert colour.run(once_more) == 2
    assert executed == [1]


def test_a_flow_that_is_tried_again_by_itself_does_not_repeat_its_tasks(colour, executed, recorded):
    step = work(colour, executed)
    problems = [OSError("first"), OSError("second")]

    @flow(retries=2)
    @colour.paint
    async def tried_again():
        value = await colour.call(step, 1)
        if problems:
            raise problems.pop(0)
        return await colour.call(step, value)

    assert colour.run(tried_again) == 3
    assert executed == [1, 2]
    assert recorded.flow_run()["run_count"] == 3


def test_a_flow_tried_again_by_itself_does_not_repeat_its_subflows(colour, executed, recorded):
    step = work(colour, executed)
    problems = [OSError("first")]

    @flow
    @colour.paint
    async def inner():
        executed.append("inner")
        return await colour.call(step, 1)

    @flow(retries=1)
    @colour.paint
    async def outer():
        value = await colour.call(inner)
        if problems:
            raise problems.pop(0)
        return value

    assert colour.run(outer) == 2
    assert executed == ["inner", 1]
    assert len(recorded.flow_runs()) == 2


@pytest.mark.parametrize("value", [None, [], {}, 0, "", False, [1, 2], {"a": (1, 2)}, 10**30, float("inf")], ids=repr)
def test_a_completed_run_gives_its_value_again(colour, executed, recorded, value):
    async def gives():
        executed.append("gives")
        return value

    once_more = resumable(colour, gives)
    first = colour.run(once_more)
    assert colour.run(once_more) == first
    assert executed == ["gives"]
    assert (recorded.flow_run()["run_count"], len(recorded.flow_runs())) == (1, 1)


def test_a_completed_run_gives_its_state_again(colour):
    async def gives():
        return 42

    once_more = resumable(colour, gives)
    first = colour.run(once_more, return_state=True)
    second = colour.run(once_more, return_state=True)
    assert (second.type, second.name, second.result()) == (first.type, first.name, 42)
    assert second.timestamp == first.timestamp


def test_hooks_tell_each_attempt_and_nothing_of_what_was_finished(colour, executed):
    def of_task(task, run, state):
        executed.append(f"task {state.name}")

    def of_flow(flow, run, state):
        executed.append(f"flow {state.name} {run.run_count}")

    @task(on_completion=[of_task])
    @colour.paint
    async def step():
        return 1

    problems = [OSError("first")]

    async def hooked():
        value = await colour.call(step)
        if problems:
            raise problems.pop()
        return value

    once_more = resumable(colour, hooked, on_running=[of_flow], on_failure=[of_flow], on_completion=[of_flow])
    colour.run(once_more, return_state=True)
    assert executed.since() == ["flow Running 1", "task Completed", "flow Failed 1"]
    colour.run(once_more)
    assert executed.since() == ["flow Retrying 2", "flow Completed 2"]
    colour.run(once_more)
    assert executed.since() == []


def test_the_key_is_a_template_over_the_parameters(colour, executed):
    @flow(idempotency_key="report-{day}")
    @colour.paint
    async def report(day: int):
        executed.append(day)
        return day

    for day in (1, 2, 1, 2, 3):
        assert colour.run(report, day) == day
    assert executed == [1, 2, 3]


def test_a_key_belongs_to_its_flow(colour, recorded):
    @flow(idempotency_key=KEY)
    @colour.paint
    async def one():
        return 1

    @flow(idempotency_key=KEY)
    @colour.paint
    async def two():
        return 2

    assert (colour.run(one), colour.run(two), colour.run(one)) == (1, 2, 1)
    assert len(recorded.flow_runs()) == 2


def test_wrong_parameters_do_not_use_up_the_key(colour, executed):
    @flow(idempotency_key=KEY)
    @colour.paint
    async def doubled(n: int):
        executed.append(n)
        return 2 * n

    with pytest.raises(ParameterTypeError):
        colour.run(doubled, "many")
    assert colour.run(doubled, 3) == 6
    with pytest.raises(ParameterTypeError):
        colour.run(doubled, "many")
    assert executed == [3]


def test_without_a_key_every_call_is_a_run_of_its_own(colour, executed, recorded):
    step = work(colour, executed)

    @flow
    @colour.paint
    async def plain():
        return await colour.call(step, 1)

    assert [colour.run(plain) for _ in range(2)] == [2, 2]
    assert executed == [1, 1]
    assert len(recorded.flow_runs()) == 2


def test_a_subflow_with_a_key_gives_its_value_to_another_parent(colour, executed, recorded):
    @flow(idempotency_key="part-{n}")
    @colour.paint
    async def part(n):
        executed.append(n)
        return n * 10

    @flow
    @colour.paint
    async def whole():
        return [await colour.call(part, n) for n in (1, 2, 1)]

    assert colour.run(whole) == [10, 20, 10]
    assert colour.run(whole) == [10, 20, 10]
    assert executed == [1, 2]
    assert len([run for run in recorded.flow_runs() if run["flow_name"] == "part"]) == 2


def test_tags_names_and_parameters_stay_those_of_the_run(colour, recorded):
    problems = [OSError("first")]

    @flow(idempotency_key=KEY, flow_run_name="of-{n}", tags=["old"])
    @colour.paint
    async def named(n: int):
        if problems:
            raise problems.pop()
        return runtime.flow_run.name

    colour.run(named, 1, return_state=True)
    before = recorded.flow_run()
    assert colour.run(named, 1) == "of-1"
    after = recorded.flow_run()
    unchanged = ("id", "name", "tags", "parameters", "created", "idempotency_key")
    assert {name: after.get(name) for name in unchanged} == {name: before.get(name) for name in unchanged}
