"""Flows at a glance: how their runs went, and the last of them beside each other; on every kind of database."""

import pytest

from tidemill import clock, ids
from tidemill.filters import FlowFilter, IdFilter, NameFilter, Page
from tidemill.orchestration import flows
from tidemill.states import CANCELLED, COMPLETED, FAILED, RUNNING, Completed, Crashed, Failed, Pending, Running
from tidemill.store import activity, grids, reading
from tidemill.store.activity import ActivitySort

NOW = 1_714_564_800_000_000


FIRST_PAGE = Page(50)


def at_a_glance(desk, asked=None, since=None, last=25, sort=ActivitySort.NAME, page=FIRST_PAGE):
    return activity.activity(desk.fetch, asked, since, last, sort, page, clock.now())


@pytest.fixture
def make(desk):
    """Makes a run of a flow that ended so (or goes on) after so many seconds; gives its id."""
    made = []

    def make(flow="etl", end=Completed, took=1.0):
        run = desk.flow_run(flow_name=flow, name=f"run-{len(made)}")
        if end is not None:
            desk.propose(run, end())
            desk.execute("UPDATE flow_run SET total_run_time = ? WHERE id = ?", int(took * 1_000_000), ids.to_bytes(run))
        made.append(run)
        # As if each had been made a second after the one before.
        desk.execute("UPDATE flow_run SET created = ? WHERE id = ?", NOW + len(made) * 1_000_000, ids.to_bytes(run))
        return run

    return make


def test_a_flow_with_runs_of_all_kinds(desk, make):
    ends = [Completed, Completed, Failed, Crashed, None]
    runs = [make(end=end, took=took) for end, took in zip(ends, (1, 3, 10, 20, 0), strict=True)]
    (flow,) = at_a_glance(desk).flows
    assert (flow.name, flow.runs, flow.by_state) == ("etl", 5, {"COMPLETED": 2, "FAILED": 1, "CRASHED": 1, "RUNNING": 1})
    assert (flow.success_rate, flow.mean_seconds, flow.p95_seconds) == (0.5, 2.0, 3.0)
    assert [run.id for run in flow.last_runs] == runs
    assert [run.state_name for run in flow.last_runs] == ["Completed", "Completed", "Failed", "Crashed", "Running"]
    assert [run.seconds for run in flow.last_runs[:4]] == [1.0, 3.0, 10.0, 20.0]
    assert flow.last_runs[4].seconds > 0
    assert flow.last_runs[0].start_ms > 10**12


def test_the_last_runs_only(desk, make):
    runs = [make() for _ in range(4)]
    (flow,) = at_a_glance(desk, last=2).flows
    assert ([run.id for run in flow.last_runs], flow.runs) == (runs[2:], 4)


def test_runs_since_a_time(desk, make):
    runs = [make(took=took) for took in (100, 2, 4)]
    (flow,) = at_a_glance(desk, since=NOW + 2_000_000).flows
    assert (flow.runs, flow.mean_seconds, flow.p95_seconds) == (2, 3.0, 4.0)
    assert [run.id for run in flow.last_runs] == runs[1:]
    (flow,) = at_a_glance(desk, since=NOW + 10_000_000).flows
    assert (flow.runs, flow.by_state, flow.success_rate, flow.mean_seconds, flow.p95_seconds) == (0, {}, None, None, None)
    assert flow.last_runs == []


def test_of_many_runs_one_in_twenty_took_longer(desk, make):
    for took in range(40):
        make(took=took)
    (flow,) = at_a_glance(desk, last=0).flows
    assert (flow.p95_seconds, flow.mean_seconds, flow.last_runs) == (37.0, 19.5, [])


@pytest.fixture
def three(desk, make):
    """Three flows: the one that failed most, the slowest, and the last."""
    make("b-fails", Failed), make("b-fails", Crashed)
    make("c-slow", took=100)
    make("a-last", Failed)


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        (ActivitySort.NAME, ["a-last", "b-fails", "c-slow", "d-never"]),
        (ActivitySort.LAST_RUN, ["a-last", "c-slow", "b-fails", "d-never"]),
        (ActivitySort.SLOWEST, ["c-slow", "a-last", "b-fails", "d-never"]),
        (ActivitySort.MOST_FAILED, ["b-fails", "a-last", "c-slow", "d-never"]),
    ],
)
def test_in_every_order(desk, three, sort, names):
    flows.ensure_flow(desk.store, "d-never", [], {})
    assert [flow.name for flow in at_a_glance(desk, sort=sort).flows] == names
    page = at_a_glance(desk, sort=sort, page=Page(2, 1))
    assert ([flow.name for flow in page.flows], page.total) == (names[1:3], 4)


def test_some_flows(desk, three, monkeypatch):
    one = reading.flow_by_name(desk.fetch, "c-slow").id
    for most_named in (200, 0):
        monkeypatch.setattr(activity, "_MOST_NAMED", most_named)
        chosen = at_a_glance(desk, FlowFilter(id=IdFilter(any_=[one])))
        assert ([flow.name for flow in chosen.flows], chosen.total, chosen.flows[0].runs) == (["c-slow"], 1, 1)
    assert [flow.name for flow in at_a_glance(desk, FlowFilter(name=NameFilter(like_="S"))).flows] == [
        "a-last",
        "b-fails",
        "c-slow",
    ]
    assert at_a_glance(desk, FlowFilter(id=IdFilter(any_=[]))).flows == []


def test_runs_are_summed_up_in_an_index(desk):
    sql = "SELECT flow_id, state_type, count(*), sum(total_run_time), max(created) FROM flow_run GROUP BY flow_id, state_type"
    assert "flow_run_by_flow" in desk.plan(sql) or desk.store.database.kind == "postgres"


# The grid


def drawn(desk, last=30):
    return grids.grid(desk.fetch, reading.flow_by_name(desk.fetch, "etl").id, last, NOW + 60_000_000)


def test_runs_and_their_tasks(desk, make):
    old, new = make(), make(end=None)

    def of(run, task, number=0, **more):
        return desk.entry(run, number, task_key=f"a.{task}", name=f"{task}-{number}", **more)

    earlier = desk.advance(of(old, "gone"), RUNNING, COMPLETED)
    single = desk.advance(of(old, "load"), RUNNING, FAILED)
    late = [desk.advance(of(new, "load", n, created=NOW), RUNNING, COMPLETED) for n in range(3)]
    late[2].progress = late[2].progress.then(CANCELLED, None, None, NOW + 10_000_000)
    first, waiting = of(new, "first"), of(new, "waiting")
    first.progress = first.progress.then(RUNNING, None, None, NOW)
    for one in (old, new):
        desk.execute("UPDATE flow_run SET state_type = 'PENDING', end_time = NULL, attempt = 1 WHERE id = ?", ids.to_bytes(one))
    desk.record([earlier, single, *late, first, waiting])
    grid = drawn(desk)
    assert [run.id for run in grid.runs] == [old, new]
    assert [(task.task_key, task.name) for task in grid.tasks] == [
        ("a.first", "first"),
        ("a.load", "load"),
        ("a.waiting", "waiting"),
        ("a.gone", "gone"),
    ]
    rows = {
        task.task_key: [cell and (cell.state_type, cell.total, cell.seconds, cell.task_run_id) for cell in task.cells]
        for task in grid.tasks
    }
    assert rows == {
        "a.first": [None, ("RUNNING", 1, 60.0, first.id)],
        "a.load": [("FAILED", 1, 1.0, single.id), ("CANCELLED", 3, 9.0, None)],
        "a.waiting": [None, ("PENDING", 1, None, waiting.id)],
        "a.gone": [("COMPLETED", 1, 1.0, earlier.id), None],
    }
    assert [run.id for run in drawn(desk, last=1).runs] == [new]
    assert [len(task.cells) for task in drawn(desk, last=1).tasks] == [1, 1, 1]


def test_a_flow_without_runs_and_none_at_all(desk, make):
    make()
    assert drawn(desk, last=0).runs == drawn(desk, last=0).tasks == []
    assert grids.grid(desk.fetch, ids.new_id(), 30, NOW) is None


# Where a flow run comes from


def test_the_flow_runs_around_a_flow_run(desk):
    outermost = desk.flow_run([Pending(), Running()], flow_name="outermost", name="one")
    middle = desk.flow_run(parent_flow_run_id=outermost, flow_name="middle", name="two")
    inner = desk.flow_run(parent_flow_run_id=middle)
    assert [(one.id, one.name, one.flow_name) for one in reading.ancestors(desk.fetch, inner)] == [
        (outermost, "one", "outermost"),
        (middle, "two", "middle"),
    ]
    assert reading.ancestors(desk.fetch, outermost) == reading.ancestors(desk.fetch, ids.new_id()) == []
