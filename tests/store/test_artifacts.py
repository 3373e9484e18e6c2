"""Artifacts in the store: which belong to which runs, and which is the latest of its key."""

import pytest

from tidemill import clock, ids, orchestration
from tidemill.filters import ArtifactFilter, ArtifactSort, Filters, FlowFilter, IdFilter, KeyFilter, NameFilter, TaskRunFilter
from tidemill.side_records import ArtifactChange, NewArtifact
from tidemill.store import artifacts

START = 1_700_000_000_000_000


@pytest.fixture
def create(desk):
    """Creates artifacts, a microsecond after each other."""
    now = START

    def create_one(**body):
        nonlocal now
        now += 1
        with desk.store.transaction() as execute:
            return artifacts.create(execute, NewArtifact(**body), now)

    return create_one


def test_an_artifact_of_a_task_run_belongs_to_its_flow_run(desk, create):
    run = desk.flow_run()
    entry = desk.entry(run)
    desk.record([entry])
    made = create(key="a", task_run_id=entry.id)
    assert (made.flow_run_id, made.task_run_id) == (run, entry.id)
    assert create(task_run_id=ids.new_id()).flow_run_id is None
    assert create(flow_run_id=ids.new_id()) is None
    orchestration.delete_flow_run(desk.store, run)
    assert artifacts.count_artifacts(desk.fetch) == 1


def test_artifacts_are_found_by_their_runs(desk, create):
    runs = [desk.flow_run(flow_name=name) for name in ("etl", "other")]
    entry = desk.entry(runs[0])
    desk.record([entry])
    of_task = create(task_run_id=entry.id)
    of_flow = create(flow_run_id=runs[1], key="a")
    create()

    def found(**filters):
        return [each.id for each in artifacts.artifacts(desk.fetch, None, Filters(**filters))]

    assert found(flows=FlowFilter(name=NameFilter(any_=["other"]))) == [of_flow.id]
    assert found(flows=FlowFilter(name=NameFilter(like_="e"))) == [of_flow.id, of_task.id]
    assert found(task_runs=TaskRunFilter(name=NameFilter(like_="step"))) == [of_task.id]
    assert found(flows=FlowFilter(name=NameFilter(any_=["other"])), task_runs=TaskRunFilter()) == []


def test_the_latest_of_a_key_is_the_newest_of_all(desk, create):
    first, other, last = create(key="a", data=1), create(key="b"), create(key="a", data=2)
    create()
    assert artifacts.latest_artifact(desk.fetch, "a") == last
    assert artifacts.latest_artifact(desk.fetch, "c") is None
    latest = artifacts.latest_artifacts(desk.fetch, sort=ArtifactSort.KEY_ASC)
    assert [(each.key, each.latest_id, each.data) for each in latest] == [("a", last.id, 2), ("b", other.id, None)]
    assert len({each.id for each in latest}) == 2
    assert artifacts.count_latest_artifacts(desk.fetch) == 2
    assert artifacts.count_latest_artifacts(desk.fetch, ArtifactFilter(id=IdFilter(any_=[first.id]))) == 0
    with desk.store.transaction() as execute:
        assert artifacts.delete(execute, last.id)
        assert not artifacts.delete(execute, last.id)
    assert artifacts.latest_artifact(desk.fetch, "a") == first


def test_two_of_one_moment_have_one_latest(desk):
    with desk.store.transaction() as execute:
        made = [artifacts.create(execute, NewArtifact(key="a"), START) for _ in range(3)]
    [latest] = artifacts.latest_artifacts(desk.fetch)
    assert latest.latest_id == made[-1].id == artifacts.latest_artifact(desk.fetch, "a").id


def test_a_change_leaves_what_it_does_not_name(desk, create):
    made = create(key="a", data={"x": 1}, description="d", metadata_={"k": "v"})
    with desk.store.transaction() as execute:
        assert artifacts.change(execute, made.id, ArtifactChange(data=None), START + 9)
        assert not artifacts.change(execute, ids.new_id(), ArtifactChange(data=None), START)
    after = artifacts.artifact(desk.fetch, made.id)
    assert (after.data, after.description, after.metadata_) == (None, "d", {"k": "v"})
    assert (after.created, after.updated) == (made.created, clock.to_datetime(START + 9))


def test_keys_are_found_in_either_case_and_by_a_pattern(desk, create):
    for key in ("a-report", "a-table", "b-report"):
        create(key=key)
    create()

    def found(**conditions):
        chosen = ArtifactFilter(key=KeyFilter(**conditions))
        return [each.key for each in artifacts.artifacts(desk.fetch, chosen, sort=ArtifactSort.KEY_ASC)]

    assert found(like_="REPORT") == ["a-report", "b-report"]
    assert found(like_="a%t") == ["a-report", "a-table"]
    assert found(like_="a_report") == []
    assert found(exists_=False) == [None]
    assert found(exists_=True, any_=["a-table", "x"]) == ["a-table"]
