"""How pages of flow runs are found: in the index of their order, without looking at the runs that are not on the page."""

from typing import Any

import msgspec
import pytest

from tidemill import clock
from tidemill.filters import EVERYTHING, Filters, FlowRunSort, Page
from tidemill.ids import new_id
from tidemill.records import NewFlowRun
from tidemill.states import State, StateType
from tidemill.store import Store, open_store, pages, reading, writing

TYPES = (StateType.COMPLETED, StateType.FAILED, StateType.SCHEDULED)


@pytest.fixture
def store(tmp_path):
    """A store with nine flow runs of three flows."""
    store = open_store(str(tmp_path / "runs.db"), durability="process")
    with store.transaction() as execute:
        for n in range(9):
            state = State[Any](type=TYPES[n % 3], timestamp=clock.to_datetime(1_714_564_800_000_000 + n))
            run = NewFlowRun(id=new_id(), name=f"run-{n}", flow_name=f"flow-{n // 3}", tags=["odd"] if n % 2 else [])
            writing.insert_flow_run(execute, run, state, clock.now())
    yield store
    store.database.close()


def plan_of(store: Store, filters: Filters, sort: FlowRunSort, question: Any = reading.flow_runs) -> list[str]:
    """How the page itself is found."""
    asked: list[tuple[str, Any]] = []

    def fetch(sql: str, bindings: Any = ()) -> list[tuple[Any, ...]]:
        asked.append((sql, bindings))
        return store.database.fetch(sql, bindings)

    question(fetch, filters, sort, Page(2))
    sql, bindings = asked[-1]
    inner = sql[sql.index("FROM (") + 6 : sql.index(") AS chosen")]
    return [row[3] for row in store.database.fetch(f"EXPLAIN QUERY PLAN {inner}", bindings)]


def names(store: Store, filters: Any, sort: FlowRunSort = FlowRunSort.ID_DESC) -> list[str]:
    return [run.name for run in reading.flow_runs(store.database.fetch, msgspec.convert(filters, Filters), sort)]


@pytest.mark.parametrize("question", [reading.flow_runs, reading.flow_run_versions])
@pytest.mark.parametrize("sort", FlowRunSort)
@pytest.mark.parametrize(
    "filters",
    [
        EVERYTHING,
        msgspec.convert({"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}, Filters),
        msgspec.convert({"flow_runs": {"tags": {"all_": ["odd"]}, "name": {"like_": "run"}}}, Filters),
        msgspec.convert({"flows": {"name": {"any_": ["flow-1"]}}}, Filters),
    ],
    ids=["all", "state", "tags-and-name", "flow"],
)
def test_a_page_is_found_in_the_index_of_its_order(store, monkeypatch, filters, sort, question):
    monkeypatch.setattr(pages, "_FEW", 1)
    plan = plan_of(store, filters, sort, question)
    assert any("USING COVERING INDEX" in step for step in plan)
    assert not any("TEMP B-TREE" in step for step in plan)


def test_runs_in_several_states_are_found_for_each_in_their_order(store):
    ended = msgspec.convert({"flow_runs": {"state": {"type": {"any_": ["FAILED", "COMPLETED"]}}}}, Filters)
    plan = plan_of(store, ended, FlowRunSort.START_TIME_DESC)
    assert plan.count("SEARCH flow_run USING COVERING INDEX flow_run_by_state (state_type=?)") == 2
    assert sum("TEMP B-TREE" in step for step in plan) <= 1  # of what was found so


def test_what_is_rare_is_looked_up_instead(store):
    rare = msgspec.convert({"flow_runs": {"state": {"type": {"any_": ["FAILED"]}}}}, Filters)
    assert "SEARCH" in plan_of(store, rare, FlowRunSort.EXPECTED_START_TIME_DESC)[0]


@pytest.mark.parametrize("sort", FlowRunSort)
@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"flow_runs": {"state": {"type": {"any_": ["FAILED", "SCHEDULED"]}}}},
        {"flow_runs": {"state": {"type": {"any_": ["FAILED", "FAILED"]}, "name": {"any_": ["Failed"]}}}},
        {"flow_runs": {"state": {"type": {"any_": ["FAILED", "COMPLETED"]}}}, "flows": {"name": {"any_": ["flow-1"]}}},
        {"flow_runs": {"operator": "or_", "state": {"type": {"any_": ["FAILED"]}}, "tags": {"any_": ["odd", "none"]}}},
        {"flow_runs": {"state": {"type": {"not_any_": ["FAILED"]}}}, "flows": {"name": {"any_": ["flow-0", "flow-2"]}}},
    ],
)
def test_either_way_gives_the_same(store, monkeypatch, filters, sort):
    found = []
    for few in (0, 1000):
        monkeypatch.setattr(pages, "_FEW", few)
        found.append(names(store, filters, sort))
    assert found[0] == found[1] != []


@pytest.mark.parametrize("tag", ['with "quotes"', "with\\slash", "100%", "ümläut", "x_y", ""])
def test_any_text_is_a_tag(store, tag):
    with store.transaction() as execute:
        run = NewFlowRun(id=new_id(), name="tagged", flow_name="flow-0", tags=["other", tag])
        writing.insert_flow_run(execute, run, State[Any](type=StateType.PENDING), clock.now())
    assert names(store, {"flow_runs": {"tags": {"all_": [tag, "other"]}}}) == ["tagged"]
    assert names(store, {"flow_runs": {"tags": {"any_": [tag]}}}) == ["tagged"]
    assert names(store, {"flow_runs": {"tags": {"all_": [tag + "x"]}}}) == []
