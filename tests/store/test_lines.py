"""The log lines of a flow run in columns, on every kind of database."""

import pytest

from tidemill import ids
from tidemill.states import Failed
from tidemill.store import lines


@pytest.fixture
def run(desk):
    """A flow run that has ended, with six lines: of each third, the second is of a task run."""
    run = desk.flow_run()
    step = desk.entry(run, 7)
    logged = [desk.line(run, f"line {n}", step.id if n % 3 == 1 else None) for n in range(6)]
    desk.record([step], logged)
    desk.propose(run, Failed())
    return run


def read(desk, run, *more, **named):
    return lines.lines(desk.fetch, run, *more, **named)


def test_all_lines_in_columns(desk, run):
    found = read(desk, run)
    assert found.message == [f"line {n}" for n in range(6)]
    assert found.seq == sorted(found.seq)
    assert (found.more, found.total) == (False, 6)
    assert found.level == [20] * 6
    assert found.at_ms == [1_714_564_800_000.0] * 6
    assert found.logger == ["tidemill.flow_runs"] * 6
    assert found.task_run == [None, 0, None, None, 0, None]
    assert [one.name for one in found.task_runs] == ["step-7"]
    assert (found.flow_run, [one.id for one in found.flow_runs]) == ([0] * 6, [run])


def test_forwards_by_pages(desk, run):
    first = read(desk, run, limit=4)
    assert (first.message, first.more, first.total) == ([f"line {n}" for n in range(4)], True, 6)
    rest = read(desk, run, first.seq[-1], limit=4)
    assert (rest.message, rest.more, rest.total) == (["line 4", "line 5"], False, 6)
    assert read(desk, run, rest.seq[-1]).seq == []


def test_backwards_by_pages(desk, run):
    newest = read(desk, run, before=2**62, limit=4)
    assert (newest.message, newest.more) == ([f"line {n}" for n in range(2, 6)], True)
    oldest = read(desk, run, before=newest.seq[0], limit=4)
    assert (oldest.message, oldest.more) == (["line 0", "line 1"], False)
    between = read(desk, run, oldest.seq[0], before=newest.seq[1])
    assert between.message == ["line 1", "line 2"]


def test_with_those_of_subflow_runs(desk, run):
    child = desk.flow_run(parent_flow_run_id=run, name="child")
    grandchild = desk.flow_run(parent_flow_run_id=child)
    desk.record([], [desk.line(child, "in the child"), desk.line(grandchild, "in its child")])
    for one in (child, grandchild):
        desk.propose(one, Failed())
    assert read(desk, run).total == 6
    found = read(desk, run, include_subflows=True)
    assert (found.message[-2:], found.total, found.flow_run[-2:]) == (["in the child", "in its child"], 8, [1, 2])
    assert [one.id for one in found.flow_runs] == [run, child, grandchild]
    assert found.flow_runs[1].name == "child"


def test_a_task_run_that_was_deleted_has_no_name(desk, run):
    desk.execute("DELETE FROM task_run")
    assert [one.name for one in read(desk, run).task_runs] == [None]


def test_lines_of_nothing(desk):
    assert read(desk, ids.new_id()) is None
    assert read(desk, desk.flow_run()).seq == []


def test_lines_are_found_in_an_index(desk):
    literal = "X'00'" if desk.store.database.kind == "sqlite" else "'\\x00'::bytea"
    sql = f"SELECT message FROM log WHERE flow_run_id IN ({literal}) AND seq > 5 AND seq < 9 ORDER BY seq LIMIT 5"
    assert "log_by_flow_run" in desk.plan(sql)
