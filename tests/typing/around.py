"""States, hooks, the running run, and what stands around flows and tasks."""

from datetime import datetime
from pathlib import Path
from typing import Any, assert_type

from tidemill import State, flow, get_run_logger, runtime, states, tags, task
from tidemill.exceptions import FailedRun
from tidemill.records import FlowRun, TaskRun
from tidemill.states import Completed, Failed, StateType
from tidemill.testing import temporary_home, travel


@task
def double(n: int) -> int:
    return 2 * n


@flow
async def parent(n: int) -> str:
    return str(n)


def of_a_state() -> None:
    state = double(1, return_state=True)
    assert_type(state.result(), int)
    assert_type(state.result(raise_on_failure=False), int)  # an exception, if the run failed: check is_completed()
    assert_type(state.type, StateType)
    assert_type(state.name, str)
    assert_type(state.message, str | None)
    assert_type(state.timestamp, datetime)
    assert_type(state.is_completed(), bool)
    assert_type(Completed(data=42), State[Any])
    assert_type(states.Failed(message="no luck"), State[Any])


async def of_an_awaited_state() -> None:
    state = await parent(1, return_state=True)
    assert_type(state.result(), str)


@flow
def by_hand(well: bool) -> State[int]:
    return Completed(data=42) if well else Failed(data=FailedRun("by hand"))


@double.on_failure
def told(_: object, run: TaskRun, state: State[Any]) -> None:
    print(run.name, state.name, run.task_key)


def announced(_: object, run: FlowRun, state: State[Any]) -> None:
    print(run.flow_name, state.message)


@flow(on_failure=[announced], on_crashed=[announced], on_running=None)
def hooked() -> None: ...


def wants_another_try(_: object, run: TaskRun, state: State[Any]) -> bool:
    return run.run_count < 3 and not isinstance(state.result(raise_on_failure=False), ValueError)


@task(retries=5, retry_delay_seconds=lambda retries: [float(n) for n in range(retries)], retry_condition_fn=wants_another_try)
def choosy() -> None: ...


@task(retry_delay_seconds=1, task_run_name=lambda: "named", on_completion=[told])
def named() -> None: ...


def inside_a_run() -> None:
    assert_type(runtime.flow_run.id, str | None)
    assert_type(runtime.flow_run.parameters, dict[str, Any])
    assert_type(runtime.flow_run.scheduled_start_time, datetime | None)
    assert_type(runtime.task_run.name, str | None)
    assert_type(runtime.task_run.run_count, int)
    get_run_logger().info("%d is %s", 1, "one", extra={"more": 1})
    with tags("nightly", "eu") as merged:
        assert_type(merged, set[str])


def in_a_test(folder: Path) -> None:
    with temporary_home(folder) as home, travel(3600):
        assert_type(home, str)
