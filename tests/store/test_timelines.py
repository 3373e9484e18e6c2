"""The timeline of a flow run, and its task runs counted, on every kind of database."""

import pytest

from tidemill import ids
from tidemill.states import CANCELLED, COMPLETED, FAILED, RUNNING, Failed, Pending, Running, StateDetails
from tidemill.store import summaries, timelines
from tidemill.store.task_names import task_name

START = 1_714_564_800_000.0
NOW = 1_714_564_800_000_000


def drawn(desk, run, *more, **named):
    return timelines.timeline(desk.fetch, run, NOW + 3_600_000_000, *more, **named)


def inputs(**sources):
    named = (f'"{name}":[{{"input_type":"task_run","id":"{run}"}}]' for name, run in sources.items())
    return "{" + ",".join(named) + "}"


def test_the_states_of_task_runs_are_counted(desk):
    run, other = desk.flow_run(), desk.flow_run()
    entries = [desk.entry(run, key) for key in range(3)]
    desk.advance(entries[0], RUNNING, COMPLETED)
    desk.advance(entries[1], RUNNING, COMPLETED)
    stands = desk.entry(run, 3, details=StateDetails())
    desk.record([*entries, stands])
    for _ in range(2):
        desk.flow_run(parent_task_run_id=stands.id, parent_flow_run_id=run)
    counts = summaries.task_run_states_by_flow_run(desk.fetch, [run, other])
    assert counts == {run: {"COMPLETED": 2, "PENDING": 1}, other: {}}
    assert summaries.task_run_states_by_flow_run(desk.fetch, []) == {}
    assert summaries.task_runs_by_flow_run(desk.fetch, [run, other]) == {run: 3, other: 0}


def test_task_runs_are_counted_in_an_index(desk):
    sql = "SELECT state_type, count(*) FROM task_run WHERE flow_run_id = {} GROUP BY state_type"
    literal = "X'00'" if desk.store.database.kind == "sqlite" else "'\\x00'::bytea"
    assert "task_run_by_state" in desk.plan(sql.format(literal))


def test_there_is_no_timeline_of_nothing(desk):
    assert drawn(desk, ids.new_id()) is None
    empty = drawn(desk, desk.flow_run())
    assert (empty.total, empty.grouped, empty.tasks, empty.nodes.id) == (0, False, [], [])


def test_states_of_the_flow_run(desk):
    run = desk.flow_run()
    desk.propose(run, Failed(message="no"))
    told = [(state.type, state.name, state.message) for state in drawn(desk, run).states]
    assert told == [("PENDING", "Pending", None), ("RUNNING", "Running", None), ("FAILED", "Failed", "no")]
    times = [state.at_ms for state in drawn(desk, run).states]
    assert times == sorted(times)


def test_task_runs_in_columns(desk):
    run = desk.flow_run()
    first = desk.advance(desk.entry(run, 0, task_key="a.load"), RUNNING, COMPLETED)
    later = desk.advance(desk.entry(run, 0, task_key="a.store", name="store-it", created=NOW + 5_000_000), RUNNING)
    later.progress = later.progress.then(FAILED, "TimedOut", None, NOW + 9_000_500)
    waiting = desk.entry(run, 1, task_key="a.store", name="store-2")
    elsewhere = ids.new_id()
    later.task_inputs = inputs(x=first.id, y=elsewhere, __parents__=first.id)
    desk.record([waiting, later, first])
    timeline = drawn(desk, run)
    assert (timeline.total, timeline.grouped) == (3, False)
    nodes = timeline.nodes
    assert set(nodes.id[:2]) == {first.id, later.id}
    assert nodes.id[2] == waiting.id
    place, before = nodes.id.index(later.id), nodes.id.index(first.id)
    told = {name: getattr(nodes, name)[place] for name in nodes.__struct_fields__}
    assert told == {
        "id": later.id,
        "task": 1 if timeline.tasks[1].task_key == "a.store" else 0,
        "name": "store-it",
        "state_type": "FAILED",
        "state_name": "TimedOut",
        "start_ms": START + 1000,
        "end_ms": START + 9000.5,
        "attempt": 1,
        "run_count": 1,
        "child_flow_run_id": None,
        "parents": [before],
        "callers": [before],
    }
    assert (nodes.start_ms[2], nodes.end_ms[2], nodes.run_count[2]) == (None, None, 0)
    tasks = {task.task_key: task for task in timeline.tasks}
    assert (tasks["a.load"].total, tasks["a.load"].counts) == (1, {"COMPLETED": 1})
    assert (tasks["a.store"].total, tasks["a.store"].counts) == (2, {"PENDING": 1, "FAILED": 1})
    assert (tasks["a.store"].first_start_ms, tasks["a.store"].last_end_ms) == (START + 1000, START + 9000.5)


def test_what_never_began_stands_where_it_ended(desk):
    run = desk.flow_run()
    cached = desk.entry(run)
    cached.progress = cached.progress.then(COMPLETED, "Cached", None, NOW + 2_000_000)
    desk.record([cached])
    timeline = drawn(desk, run)
    assert timeline.nodes.start_ms == timeline.nodes.end_ms == [START + 2000]
    assert timeline.tasks[0].first_start_ms == START + 2000


def test_a_task_run_names_the_subflow_run_that_it_stands_for(desk):
    run = desk.flow_run()
    stands = desk.entry(run, 0, name="my-subflow-0", task_key="flows.my_subflow")
    desk.record([stands])
    child = desk.flow_run([Pending(), Running()], parent_task_run_id=stands.id, parent_flow_run_id=run)
    timeline = drawn(desk, run)
    assert timeline.nodes.child_flow_run_id == [child]
    assert timeline.tasks[0].name == "my-subflow"


def test_one_task_by_pages(desk):
    run = desk.flow_run()
    entries = [desk.entry(run, key) for key in range(5)]
    for n, entry in enumerate(reversed(entries)):
        entry.progress = entry.progress.then(RUNNING, None, None, NOW + n)
    desk.record([*entries, desk.advance(desk.entry(run, 0, task_key="module.other"), RUNNING, CANCELLED)])
    whole = drawn(desk, run, "module.step")
    assert whole.nodes.id == [entry.id for entry in reversed(entries)]
    assert [whole.tasks[n].task_key for n in whole.nodes.task] == ["module.step"] * 5
    assert (whole.total, len(whole.tasks)) == (6, 2)
    page = drawn(desk, run, "module.step", offset=1, limit=2)
    assert page.nodes.id == whole.nodes.id[1:3]
    assert drawn(desk, run, "module.nothing").nodes.id == []


@pytest.fixture
def few(monkeypatch):
    """Three task runs are too many to be drawn one by one."""
    monkeypatch.setattr(timelines, "MOST_NODES", 2)


def test_too_many_task_runs_are_grouped(desk, few):
    run = desk.flow_run()
    spans = {"a": [(0, 100), (50, 100)], "b": [(100, 200)], "c": [(150, None)], "d": [(None, None)]}
    entries = []
    for task, times in spans.items():
        for n, (begin, end) in enumerate(times):
            entry = desk.entry(run, n, task_key=task)
            if begin is not None:
                entry.progress = entry.progress.then(RUNNING, None, None, NOW + begin * 1_000_000)
            if end is not None:
                entry.progress = entry.progress.then(COMPLETED, None, None, NOW + end * 1_000_000)
            entries.append(entry)
    desk.record(entries)
    timeline = timelines.timeline(desk.fetch, run, NOW + 200_000_000)
    assert (timeline.total, timeline.grouped, timeline.nodes.id) == (5, True, [])
    assert [task.task_key for task in timeline.tasks] == ["a", "b", "c", "d"]
    activity = {task.task_key: task.activity for task in timeline.tasks}
    assert {(one.begin_ms, one.width_ms, len(one.running)) for one in activity.values()} == {(START, 1000.0, 200)}
    assert activity["a"].running == [1.0] * 50 + [2.0] * 50 + [0.0] * 100
    assert activity["b"].running == [0.0] * 100 + [1.0] * 100
    assert activity["c"].running == [0.0] * 150 + [1.0] * 50
    assert activity["d"].running == [0.0] * 200
    assert len(drawn(desk, run, "a").nodes.id) == 2


def test_part_of_a_span_counts_in_part(desk, few):
    run = desk.flow_run()
    entries = [desk.entry(run, n) for n in range(3)]
    for entry, begin, end in zip(entries, (0, 250, 250), (400_000, 750, 1_500), strict=True):
        entry.progress = entry.progress.then(RUNNING, None, None, NOW + begin * 1000)
        entry.progress = entry.progress.then(COMPLETED, None, None, NOW + end * 1000)
    desk.record(entries)
    desk.propose(run, Failed())
    desk.execute("UPDATE flow_run SET end_time = ?", NOW + 400_000_000)
    (task,) = timelines.timeline(desk.fetch, run, NOW + 10**12).tasks
    assert (task.activity.width_ms, task.activity.running[:3]) == (2000.0, [1.875, 1.0, 1.0])


def test_grouped_without_anything_that_began(desk, few):
    run = desk.flow_run()
    desk.record([desk.entry(run, key) for key in range(3)])
    timeline = drawn(desk, run)
    assert (timeline.grouped, [task.activity for task in timeline.tasks]) == (True, [None])


@pytest.mark.parametrize(
    ("task_key", "run_name", "dynamic_key", "name"),
    [
        ("module.step", "a step-63455d4a-3", "3", "a step"),
        ("add-e09864e0", "add-e09", "3c1b", "add"),
        ("flows.my_subflow", "my-subflow-7", "7", "my-subflow"),
        ("module.step", "for tuesday", "0", "step"),
        ("step", "-0", "0", "step"),
    ],
)
def test_what_a_task_is_called(task_key, run_name, dynamic_key, name):
    assert task_name(task_key, run_name, dynamic_key) == name
