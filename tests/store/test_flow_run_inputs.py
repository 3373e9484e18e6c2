"""Inputs of flow runs in the store."""

import pytest

from tidemill import ids, orchestration
from tidemill.filters import Page
from tidemill.side_records import NewFlowRunInput
from tidemill.store import flow_run_inputs

START = 1_700_000_000_000_000


@pytest.fixture
def give(desk):
    """Gives a flow run an input, a microsecond after the one before."""
    now = START

    def give_one(run, key, value="v", sender=None):
        nonlocal now
        now += 1
        with desk.store.transaction() as execute:
            return flow_run_inputs.create(execute, run, NewFlowRunInput(key=key, value=value, sender=sender), now)

    return give_one


def test_an_input_is_given_once_and_never_changes(desk, give):
    run = desk.flow_run()
    assert give(run, "k", "first\n é") is True
    assert give(run, "k", "second") is False
    assert give(ids.new_id(), "k") is None
    assert flow_run_inputs.value(desk.fetch, run, "k") == "first\n é"
    assert flow_run_inputs.value(desk.fetch, run, "other") is None


def test_inputs_are_found_by_how_their_keys_begin(desk, give):
    run, other = desk.flow_run(), desk.flow_run()
    for key in ("b-2", "B-1", "b-1", "a", "b%"):
        give(run, key)
    give(other, "b-3")

    def found(prefix, *excluded, limit=10):
        return [each.key for each in flow_run_inputs.inputs(desk.fetch, run, prefix, excluded, Page(limit))]

    assert found("b-") == ["b-2", "b-1"]
    assert found("b-", limit=1) == ["b-2"]
    assert found("", "a", "b-2") == ["B-1", "b-1", "b%"]
    assert found("b%") == ["b%"]


def test_an_input_goes_by_itself_or_with_its_flow_run(desk, give):
    run = desk.flow_run()
    give(run, "a")
    give(run, "b")
    with desk.store.transaction() as execute:
        assert flow_run_inputs.delete(execute, run, "a")
        assert not flow_run_inputs.delete(execute, run, "a")
    orchestration.delete_flow_run(desk.store, run)
    assert desk.count("flow_run_input") == 0
