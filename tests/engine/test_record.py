"""What is kept of a run: every state with its time, the result, the log, and nothing that did not happen."""

import pytest

from tidemill import flow, task


@pytest.fixture
def step(colour):
    @task
    @colour.paint
    async def step():
        return 1

    return step


@pytest.fixture
def parent(colour, step):
    """A flow of one task."""

    @flow
    @colour.paint
    async def parent():
        return await colour.call(step)

    return parent


def test_every_state_of_a_run_is_kept_with_its_time(colour, parent, recorded):
    colour.run(parent)
    for run in (recorded.flow_run(), recorded.task_run()):
        states = recorded.states(run)
        assert [state["type"] for state in states] == ["PENDING", "RUNNING", "COMPLETED"]
        times = [state["timestamp"] for state in states]
        assert times == sorted(times)
        assert run["state"]["type"] == run["state_type"] == "COMPLETED"
        assert run["state"]["name"] == run["state_name"] == "Completed"
        assert run["start_time"] <= run["end_time"]
        assert run["run_count"] == 1
        assert run["total_run_time"] >= 0


def test_a_run_is_recorded_while_it_runs(colour, recorded):
    @flow
    @colour.paint
    async def watching():
        return recorded.flow_run()["state_type"]

    assert colour.run(watching) == "RUNNING"


def test_the_task_is_recorded_when_its_caller_sees_the_result(colour, step, recorded):
    @flow
    @colour.paint
    async def parent():
        seen = []
        for _ in range(3):
            await colour.call(step)
            seen.append([run["state_type"] for run in recorded.task_runs()])
        return seen

    assert colour.run(parent) == [["COMPLETED"] * n for n in (1, 2, 3)]


def test_the_engines_own_lines_are_recorded_too(colour, parent, recorded):
    colour.run(parent)
    task_name = recorded.task_run()["name"]
    assert [log["message"] for log in recorded.logs()] == [
        f"Created flow run '{recorded.flow_run()['name']}' for flow 'parent'",
        f"Created task run '{task_name}' for task 'step'",
        f"Executing '{task_name}' immediately...",
        "Finished in state Completed()",
        "Finished in state Completed()",
    ]


def test_the_log_of_a_failure_has_the_users_traceback_and_none_of_ours(colour, recorded):
    @task
    @colour.paint
    async def step():
        raise LookupError("gone")

    @flow
    @colour.paint
    async def parent():
        await colour.call(step)

    with pytest.raises(LookupError):
        colour.run(parent)
    told = [log["message"] for log in recorded.logs() if log["message"].startswith("Encountered exception")]
    assert len(told) == 2
    for message in told:
        assert message.startswith("Encountered exception during execution:\nTraceback (most recent call last):\n")
        assert message.rstrip().endswith("LookupError: gone")
        assert "in step" in message
        assert "/tidemill/engine/" not in message
        assert "/tidemill/flows.py" not in message
        assert "/tidemill/tasks.py" not in message


def test_a_flow_is_recorded_once_however_often_it_runs(colour, recorded):
    @flow
    @colour.paint
    async def often():
        return 1

    for _ in range(3):
        colour.run(often)
    assert len({run["flow_id"] for run in recorded.flow_runs()}) == 1
    assert [each["name"] for each in recorded.flows()] == ["often"]


def test_ids_grow_with_time(recorded):
    @task
    def step():
        return 1

    @flow
    def parent():
        for _ in range(50):
            step()

    parent()
    runs = sorted(recorded.task_runs(limit=100), key=lambda run: int(run["dynamic_key"]))
    assert [run["id"] for run in runs] == sorted(run["id"] for run in runs)
