"""A flow's own retries, and the attempts that somebody begins: each attempt has all its retries."""

import pytest

from tidemill import flow, runtime

KEY = "the only run"


@pytest.fixture
def executed():
    return []


def test_a_flow_has_all_its_retries_in_every_attempt(colour, executed, recorded):
    @flow(retries=1, idempotency_key=KEY)
    @colour.paint
    async def hopeless():
        executed.append(runtime.flow_run.run_count)
        raise ValueError("never")

    for _ in range(2):
        with pytest.raises(ValueError, match="never"):
            colour.run(hopeless)
    assert executed == [1, 2, 3, 4]
    names = [state["name"] for state in recorded.states(recorded.flow_run())]
    attempt = ["AwaitingRetry", "Retrying", "Failed"]
    assert names == ["Pending", "Running", *attempt, "Retrying", *attempt]


def test_a_subflow_with_retries_has_them_all_in_every_attempt(colour, executed, recorded):
    @flow(retries=1)
    @colour.paint
    async def part():
        executed.append(runtime.flow_run.run_count)
        raise ValueError("never")

    @flow(idempotency_key=KEY)
    @colour.paint
    async def whole():
        await colour.call(part)

    for _ in range(2):
        with pytest.raises(ValueError, match="never"):
            colour.run(whole)
    assert executed == [1, 2, 3, 4]
