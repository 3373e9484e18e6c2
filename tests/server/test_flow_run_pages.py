"""Pages of flow runs that are kept: what they show is always what is recorded."""

import pytest

from tidemill import clock, ids, orchestration
from tidemill.filters import EVERYTHING, FIRST_PAGE, FlowRunSort
from tidemill.records import NewFlowRun
from tidemill.server import flow_run_pages
from tidemill.server.flow_run_pages import FlowRunPages
from tidemill.states import Cancelled, Completed, Pending, Running


@pytest.fixture
def ended(served):
    """A flow run that has ended."""
    run = NewFlowRun(id=ids.new_id(), name="first", flow_name="etl")
    orchestration.create_flow_run(served.store, run, [Pending(), Running(), Completed()], None)
    return run.id


def listed(served, **body):
    return served.post("flow_runs/filter", body)


def test_a_page_is_the_same_again_and_as_each_run_is_told_alone(served, ended):
    first = listed(served)
    assert listed(served) == first == [served.get(f"flow_runs/{ended}")]


def test_a_run_that_is_renamed_is_shown_by_its_new_name(served, ended):
    listed(served)
    served.answer("PATCH", f"flow_runs/{ended}", json={"name": "second"})
    assert [run["name"] for run in listed(served)] == ["second"]


def test_a_run_that_is_begun_again_is_shown_in_its_new_state(served, ended):
    listed(served)
    served.post(f"flow_runs/{ended}/set_state", {"state": {"type": "RUNNING"}, "force": True})
    assert [run["state_type"] for run in listed(served)] == ["RUNNING"]


def test_a_run_that_is_deleted_is_shown_no_more(served, ended):
    listed(served)
    served.answer("DELETE", f"flow_runs/{ended}")
    assert listed(served) == []


def test_what_is_told_of_a_run_that_goes_on_is_told_anew_each_time(served):
    run = NewFlowRun(id=ids.new_id(), name="long", flow_name="etl")
    orchestration.create_flow_run(served.store, run, [Pending(), Running()], None)
    before = listed(served)[0]["estimated_run_time"]
    with clock.travel(3600):
        assert listed(served)[0]["estimated_run_time"] > before + 3500


def test_a_page_by_its_number_shows_the_same(served, ended):
    page = served.post("flow_runs/paginate", {"page": 1, "limit": 10})
    assert page["results"] == listed(served)
    assert page["count"] == 1


def test_no_more_is_kept_than_there_is_room_for(served, monkeypatch):
    monkeypatch.setattr(flow_run_pages, "_MOST_BYTES", 4000)
    for number in range(30):
        run = NewFlowRun(id=ids.new_id(), name=f"run-{number}", flow_name="etl")
        orchestration.create_flow_run(served.store, run, [Pending(), Running(), Cancelled()], None)
    pages = FlowRunPages()
    page = pages.page(served.store.database.fetch, EVERYTHING, FlowRunSort.ID_DESC, FIRST_PAGE)
    assert len(page) == 30
    assert 0 < pages.kept_bytes < 4000 + 16 * 1024
