"""Failed runs are tried again: how often, how soon, and whether at all."""

import itertools

import pytest

from tidemill import flow, task
from tidemill.exceptions import DefinitionError
from tidemill.runtime import flow_run, task_run
from tidemill.tasks import exponential_backoff

TINY = 0.001


class Flaky:
    """Fails a number of times, then gives the number of its calls."""

    def __init__(self, failures):
        self.failures = failures
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError(f"try {self.calls}")
        return self.calls


@pytest.fixture(params=[flow, task], ids=["flow", "task"])
def decorator(request):
    return request.param


def make(colour, decorator, flaky, **options):
    @decorator(**options)
    @colour.paint
    async def unsteady():
        return flaky()

    return unsteady


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_run_is_tried_again_until_it_succeeds(colour, decorator, failures):
    flaky = Flaky(failures)
    assert colour.run(make(colour, decorator, flaky, retries=2, retry_delay_seconds=TINY)) == failures + 1


def test_when_retries_are_exhausted_the_last_exception_is_raised(colour, decorator):
    flaky = Flaky(99)
    with pytest.raises(ConnectionError, match="try 3"):
        colour.run(make(colour, decorator, flaky, retries=2, retry_delay_seconds=TINY))
    assert flaky.calls == 3


def test_without_retries_a_run_is_tried_once(colour, decorator):
    flaky = Flaky(1)
    with pytest.raises(ConnectionError):
        colour.run(make(colour, decorator, flaky))
    assert flaky.calls == 1


def test_retries_without_a_delay_are_immediate(colour, decorator):
    assert colour.run(make(colour, decorator, Flaky(2), retries=2)) == 3


def test_every_try_is_in_the_history(colour, decorator, recorded):
    colour.run(make(colour, decorator, Flaky(2), retries=2, retry_delay_seconds=TINY))
    run = recorded.flow_run() if decorator is flow else recorded.task_run()
    names = [state["name"] for state in recorded.states(run)]
    assert names == ["Pending", "Running", "AwaitingRetry", "Retrying", "AwaitingRetry", "Retrying", "Completed"]
    assert run["run_count"] == 3


def test_the_number_of_the_try_is_known_inside(colour):
    seen = []

    @task(retries=2)
    @colour.paint
    async def counted():
        seen.append(task_run.run_count)
        if len(seen) < 3:
            raise ConnectionError

    @flow(retries=1)
    @colour.paint
    async def parent():
        if flow_run.run_count == 1:
            raise ConnectionError
        await colour.call(counted)
        return flow_run.run_count

    assert colour.run(parent) == 2
    assert seen == [1, 2, 3]


def test_a_wait_is_logged(colour, recorded):
    @task(retries=1, retry_delay_seconds=TINY)
    @colour.paint
    async def unsteady():
        if task_run.run_count == 1:
            raise ConnectionError("lost")

    @flow
    @colour.paint
    async def parent():
        await colour.call(unsteady)
        return 1

    colour.run(parent)
    messages = [log["message"] for log in recorded.logs()]
    assert (
        "Received non-final state 'AwaitingRetry' when proposing final state 'Failed' and will attempt to run again..."
        in messages
    )
    assert any(message.startswith("Encountered exception during execution:") for message in messages)


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        (0.02, [0.02, 0.02, 0.02]),
        ([0.01, 0.02, 0.03], [0.01, 0.02, 0.03]),
        ([0.01, 0.02], [0.01, 0.02, 0.02]),
        (lambda retries: [0.01 * (n + 1) for n in range(retries)], [0.01, 0.02, 0.03]),
        (exponential_backoff(backoff_factor=0.01), [0.01, 0.02, 0.04]),
    ],
    ids=["number", "list", "short list", "callable", "exponential_backoff"],
)
def test_how_long_each_wait_is(colour, delay, expected):
    unsteady = make(colour, task, Flaky(3), retries=3, retry_delay_seconds=delay)
    waits = []
    unsteady.on_running(lambda task, task_run, state: waits.append(state.timestamp))
    assert colour.run(unsteady) == 4
    measured = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(waits)]
    assert len(measured) == 3
    assert all(got >= wanted for got, wanted in zip(measured, expected, strict=True))


def test_exponential_backoff_doubles():
    assert exponential_backoff(backoff_factor=10)(4) == [10, 20, 40, 80]
    assert exponential_backoff(0.5)(2) == [0.5, 1.0]


def test_jitter_never_makes_the_wait_negative_and_the_run_succeeds(colour):
    unsteady = make(colour, task, Flaky(3), retries=3, retry_delay_seconds=TINY, retry_jitter_factor=0.9)
    assert colour.run(unsteady) == 4


@pytest.mark.parametrize("paint", [True, False], ids=["its colour", "plain"])
def test_a_condition_decides_whether_to_try_again(colour, paint):
    asked = []

    async def condition_in_colour(task, task_run, state):
        return plain_condition(task, task_run, state)

    def plain_condition(task, task_run, state):
        asked.append((task.name, task_run.name, state.type.value))
        return "1" in str(state.result(raise_on_failure=False))

    condition = colour.paint(condition_in_colour) if paint else plain_condition
    flaky = Flaky(99)
    with pytest.raises(ConnectionError, match="try 2"):
        colour.run(make(colour, task, flaky, retries=5, retry_condition_fn=condition))
    assert flaky.calls == 2
    assert len(asked) == 2
    assert {(name, type_) for name, _, type_ in asked} == {("unsteady", "FAILED")}


def test_a_plain_task_takes_no_async_condition():
    async def condition(task, task_run, state):
        return False

    with pytest.raises(DefinitionError, match="retry_condition_fn"):
        task(retries=1, retry_condition_fn=condition)(lambda: 1)


def test_a_condition_that_raises_ends_the_retries(colour):
    flaky = Flaky(99)

    def broken(task, task_run, state):
        raise ZeroDivisionError("in the condition")

    with pytest.raises(ConnectionError, match="try 1"):
        colour.run(make(colour, task, flaky, retries=5, retry_condition_fn=broken))
    assert flaky.calls == 1


def test_return_state_of_an_exhausted_run_is_its_last_failure(colour, decorator):
    state = colour.run(make(colour, decorator, Flaky(99), retries=1), return_state=True)
    assert state.is_failed()
    assert str(state.result(raise_on_failure=False)) == "try 2"


def test_a_flow_that_is_tried_again_runs_its_body_again(colour, recorded):
    bodies = []

    @flow(retries=1)
    @colour.paint
    async def parent():
        bodies.append(flow_run.id)
        if len(bodies) == 1:
            raise ConnectionError
        return "done"

    assert colour.run(parent) == "done"
    assert bodies[0] == bodies[1]
    assert len(recorded.flow_runs()) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"retries": -1},
        {"retries": "many"},
        {"retries": 1, "retry_delay_seconds": -1},
        {"retries": 1, "retry_delay_seconds": [1, -1]},
        {"retries": 1, "retry_jitter_factor": -0.1},
        {"timeout_seconds": -1},
        {"timeout_seconds": "soon"},
        {"timeout_seconds": float("nan")},
        {"retries": 1, "retry_delay_seconds": "soon"},
        {"retries": 1, "retry_delay_seconds": float("nan")},
    ],
    ids=str,
)
def test_an_option_that_makes_no_sense_is_refused_where_it_is_given(options):
    with pytest.raises(DefinitionError, match=list(options)[-1]):
        task(**options)(lambda: 1)
