"""The options of a task count on every task runner, and so does what runs inside a task."""

import collections

import pytest

from tidemill import (
    flow,
    runtime,
    task,
)

# Options of the task


def test_a_failed_run_is_tried_again(on, recorded, tmp_path, story):
    tries = tmp_path / "tries"

    @on.task(retries=2, retry_delay_seconds=0.001)
    async def unsteady():
        with open(tries, "a") as file:
            file.write("x")
        if len(tries.read_text()) < 3:
            raise ConnectionError("not yet")
        return runtime.task_run.run_count

    @on.flow
    async def parent():
        return await on.value(unsteady.submit())

    assert on.run(parent) == 3
    run = recorded.task_run()
    assert run["run_count"] == 3
    assert story(run) == [
        "Pending", "Running", "AwaitingRetry", "Retrying", "AwaitingRetry", "Retrying", "Completed",
    ]  # fmt: skip


def test_when_retries_are_exhausted_the_last_exception_is_raised(on, recorded, story):
    @on.task(retries=1)
    async def unsteady():
        raise ConnectionError(f"try {runtime.task_run.run_count}")

    @on.flow
    async def parent():
        return await on.value(unsteady.submit())

    with pytest.raises(ConnectionError, match="try 2"):
        on.run(parent)
    assert story(recorded.task_run()) == ["Pending", "Running", "AwaitingRetry", "Retrying", "Failed"]


def test_a_condition_decides_whether_there_is_a_retry(on, recorded):
    def only_lookup(task, run, state):
        return isinstance(state.result(raise_on_failure=False), LookupError)

    @on.task(retries=1, retry_condition_fn=only_lookup)
    async def fail(error):
        raise error

    @on.flow
    async def parent():
        for future in [fail.submit(LookupError("a")), fail.submit(ValueError("b"))]:
            await on.end(future)
        return 1

    on.run(parent)
    assert sorted(run["run_count"] for run in recorded.task_runs()) == [1, 2]


def test_a_time_limit_stops_a_task(on, recorded):
    pause = on.pause

    @on.task(timeout_seconds=0.05)
    async def endless():
        while True:
            await pause()

    @on.flow
    async def parent():
        future = await on.end(endless.submit())
        with pytest.raises(TimeoutError, match=r"Task run exceeded timeout of 0\.05 seconds"):
            await on.value(future)
        return future.state.name

    assert on.run(parent) == "TimedOut"
    run = recorded.task_run()
    assert (run["state_type"], run["state_name"]) == ("FAILED", "TimedOut")


def test_hooks_are_called_with_the_task_its_run_and_the_state(on, recorded, tmp_path):
    path = tmp_path / "hooks"

    def told(task, run, state):
        with open(path, "a") as file:
            file.write(f"{task.name} {run.name} {state.name} {state.type.value}\n")

    hooks = {name: [told] for name in ("on_running", "on_completion", "on_failure")}

    @on.task(**hooks)
    async def good():
        return 1

    @on.task(**hooks)
    async def bad():
        raise LookupError

    @on.flow
    async def parent():
        await on.end(good.submit())
        await on.end(bad.submit())
        assert len(path.read_text().splitlines()) == 4  # a future is done when its hooks are
        return 1

    on.run(parent)
    good_name, bad_name = recorded.task_run("good")["name"], recorded.task_run("bad")["name"]
    assert path.read_text().splitlines() == [
        f"good {good_name} Running RUNNING",
        f"good {good_name} Completed COMPLETED",
        f"bad {bad_name} Running RUNNING",
        f"bad {bad_name} Failed FAILED",
    ]


def test_a_hook_that_fails_does_not_fail_the_run(on, recorded, wait_until):
    def broken(task, run, state):
        raise RuntimeError("hook broke")

    @on.task(on_completion=[broken])
    async def step():
        return 1

    @on.flow
    async def parent():
        return await on.value(step.submit())

    assert on.run(parent) == 1
    wait_until(lambda: any("hook broke" in log["message"] for log in recorded.logs()))  # nobody waits for log lines


def test_options_of_a_copy_count(on, recorded):
    @on.task
    async def step():
        return runtime.task_run.name

    @on.flow
    async def parent():
        return await on.value(step.with_options(task_run_name="renamed", tags=["t"]).submit())

    assert on.run(parent) == "renamed"
    assert recorded.task_run()["tags"] == ["t"]


def test_a_method_is_submitted_with_its_object(on):
    class Store:
        def __init__(self, rate):
            self.rate = rate

        @on.task
        async def price(self, amount):
            return amount * self.rate

    @on.flow
    async def parent():
        store = Store(3)
        return await on.value(store.price.submit(2)), await on.value(store.price.map([1, 2]))

    assert on.run(parent) == (6, [3, 6])


def test_a_generator_task_gives_the_list_of_its_values(on, recorded):
    if on.task_is_async:

        @task
        async def count(n):
            for x in range(n):
                yield x
    else:

        @task
        def count(n):
            yield from range(n)

    @on.flow
    async def parent():
        return await on.value(count.submit(3))

    assert on.run(parent) == [0, 1, 2]
    assert recorded.task_run()["state_type"] == "COMPLETED"


def test_a_generator_task_that_fails_half_way(on, recorded):
    if on.task_is_async:

        @task
        async def count():
            yield 1
            raise LookupError("half way")
    else:

        @task
        def count():
            yield 1
            raise LookupError("half way")

    @on.flow
    async def parent():
        return await on.value(count.submit())

    with pytest.raises(LookupError, match="half way"):
        on.run(parent)
    assert recorded.task_run()["state_type"] == "FAILED"


# What runs inside


def test_a_task_knows_its_runs(on, recorded):
    @on.task
    async def who(x):
        return {
            "flow_run": runtime.flow_run.id,
            "flow": runtime.flow_run.flow_name,
            "parameters": dict(runtime.flow_run.parameters),
            "task_run": runtime.task_run.id,
            "name": runtime.task_run.name,
            "task": runtime.task_run.task_name,
            "inputs": dict(runtime.task_run.parameters),
        }

    @on.flow(name="knowing")
    async def parent(a):
        return await on.value(who.submit(who.submit(3)))

    known = on.run(parent, 7)
    flow_run = recorded.flow_run()
    last = max(recorded.task_runs(), key=lambda run: run["id"])
    first = known["inputs"].pop("x")
    assert first["inputs"] == {"x": 3}
    assert known == {
        "flow_run": flow_run["id"],
        "flow": "knowing",
        "parameters": {"a": 7},
        "task_run": last["id"],
        "name": last["name"],
        "task": "who",
        "inputs": {},
    }


def test_a_task_calls_a_task(on, recorded):
    call = on.call

    @on.task
    async def inner(x):
        return x + 1

    @on.task
    async def outer(x):
        return await call(inner, await call(inner, x))

    @on.flow
    async def parent():
        return await on.value(on_both(outer.submit(0), outer.submit(10)))

    def on_both(first, second):
        return add.submit(first, second)

    @on.task
    async def add(a, b):
        return a, b

    assert on.run(parent) == (2, 12)
    runs = recorded.task_runs()
    assert {run["flow_run_id"] for run in runs} == {recorded.flow_run()["id"]}
    assert sorted(run["name"].split("-")[0] for run in runs) == ["add", *["inner"] * 4, *["outer"] * 2]
    assert len({run["name"] for run in runs}) == 7
    outer_ids = {run["id"] for run in runs if run["name"].startswith("outer")}
    parents = [run["task_inputs"]["__parents__"][0]["id"] for run in runs if run["name"].startswith("inner")]
    assert collections.Counter(parents) == dict.fromkeys(outer_ids, 2)


def test_a_task_submits_a_task(on, recorded):
    is_async = on.task_is_async

    @on.task
    async def inner(x):
        return x + 1

    @on.task
    async def outer(x):
        futures = [inner.submit(x), inner.submit(x + 1)]
        return [await future if is_async else future.result() for future in futures]

    @on.flow
    async def parent():
        return await on.value(outer.map([0, 10]))

    assert on.run(parent) == [[1, 2], [11, 12]]
    runs = recorded.task_runs()
    assert len({run["name"] for run in runs}) == len(runs) == 6
    assert {run["state_type"] for run in runs} == {"COMPLETED"}


def test_what_a_task_submitted_and_left_alone_is_finished_too(on, recorded, tmp_path):
    path = tmp_path / "done"

    @on.task
    async def inner():
        path.touch()

    @on.task
    async def outer():
        inner.submit()
        return 1

    @on.flow
    async def parent():
        return await on.value(outer.submit())

    assert on.run(parent) == 1
    assert path.exists()
    assert recorded.task_run("inner")["state_type"] == "COMPLETED"


def test_a_task_calls_a_flow(on, recorded):
    call = on.call

    @on.task
    async def inner(x):
        return x * 2

    if on.task_is_async:

        @flow
        async def below(x):
            return await inner(x)
    else:

        @flow
        def below(x):
            return inner(x)

    @on.task
    async def outer(x):
        return await call(below, x)

    @on.flow
    async def parent():
        return await on.value(outer.submit(4))

    assert on.run(parent) == 8
    below_run, above_run = recorded.flow_run(flow="below"), recorded.flow_run(flow="parent")
    assert below_run["state_type"] == "COMPLETED"
    assert recorded.task_run("inner")["flow_run_id"] == below_run["id"]
    assert below_run["parent_task_run_id"] in {run["id"] for run in recorded.task_runs(above_run)}


def test_a_subflow_uses_the_runner_of_its_parent(on, recorded):
    @on.task
    async def step(x):
        return x + 1

    @on.flow(task_runner=None)
    async def below(x):
        return await on.value(step.submit(x))

    @on.flow
    async def parent():
        value = below(1)
        return await value if on.flow_is_async else value

    assert on.run(parent) == 2
    assert recorded.task_run("step")["flow_run_id"] == recorded.flow_run(flow="below")["id"]
