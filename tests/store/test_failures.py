"""Why a flow run failed: which exception, and from which task run, on every kind of database."""

import pytest

from tidemill import ids
from tidemill.states import (
    COMPLETED,
    FAILED,
    RUNNING,
    Completed,
    Crashed,
    ErrorSummary,
    Failed,
    Pending,
    Running,
    StateDetails,
)
from tidemill.store import failures

BAD = ErrorSummary("builtins.ValueError", "bad day", "Traceback\n  in load\nValueError: bad day")
OTHER = ErrorSummary("builtins.KeyError", "'x'", "Traceback\n  in other\nKeyError: 'x'")


def failed(desk, run, key, error=None, second=5, **more):
    """A task run that failed in this second."""
    entry = desk.advance(desk.entry(run, key, **more), RUNNING)
    entry.progress = entry.progress.then(FAILED, None, f"{key} failed", entry.created + second * 1_000_000)
    entry.details = None if error is None else StateDetails(error=error)
    return entry


def end(desk, run, error=None, state=Failed, **more):
    made = state(**more)
    made.state_details = StateDetails(error=error)
    desk.propose(run, made)


def why(desk, run):
    return failures.failure(desk.fetch, run)


def called(desk, run, key=0):
    """A subflow run, with the task run that stands for it, which failed."""
    stands = failed(desk, run, f"sub-{key}", second=20)
    desk.record([stands])
    return desk.flow_run([Pending(), Running()], parent_task_run_id=stands.id, parent_flow_run_id=run)


@pytest.mark.parametrize("state", [Completed(), None])
def test_a_run_that_has_not_failed(desk, state):
    run = desk.flow_run()
    desk.record([failed(desk, run, 0, BAD)])
    if state is not None:
        desk.propose(run, state)
    assert why(desk, run) is None
    assert why(desk, ids.new_id()) is None


def test_the_exception_of_a_task_run(desk):
    run = desk.flow_run()
    guilty = failed(desk, run, 1, BAD, 8)
    done = desk.advance(desk.entry(run, 2), RUNNING, COMPLETED)
    desk.record([failed(desk, run, 0, OTHER, 9), guilty, done])
    through_the_flow = ErrorSummary(BAD.type, BAD.message, "Traceback\n  in the flow\n  in load\nValueError: bad day")
    end(desk, run, through_the_flow)
    found = why(desk, run)
    assert (found.type, found.message, found.traceback) == (BAD.type, BAD.message, through_the_flow.traceback)
    assert (found.task_run_id, found.task_run_name, found.flow_run_id) == (guilty.id, "step-1", run)


@pytest.mark.parametrize(
    "lines", ["ValueError: bad day\n\nDuring...\nKeyError: 'y'", "  | ExceptionGroup\n    | ValueError: bad day"]
)
def test_an_exception_that_came_from_another(desk, lines):
    run = desk.flow_run()
    guilty = failed(desk, run, 0, BAD)
    desk.record([guilty])
    end(desk, run, ErrorSummary("builtins.KeyError", "'y'", lines))
    found = why(desk, run)
    assert (found.type, found.task_run_id) == ("builtins.KeyError", guilty.id)


def test_an_exception_of_the_flow_itself(desk):
    run = desk.flow_run()
    desk.record([failed(desk, run, 0, OTHER)])
    end(desk, run, BAD)
    found = why(desk, run)
    assert (found.type, found.task_run_id, found.task_run_name, found.flow_run_id) == (BAD.type, None, None, run)


def test_without_an_exception_of_its_own_it_is_the_first_failure(desk):
    run = desk.flow_run()
    desk.record([failed(desk, run, 0, OTHER, 9), failed(desk, run, 1, BAD, 5)])
    end(desk, run, message="2/2 states failed.")
    found = why(desk, run)
    assert (found.type, found.traceback, found.task_run_name) == (BAD.type, BAD.traceback, "step-1")


def test_deep_in_subflow_runs(desk):
    run = desk.flow_run()
    child = called(desk, run)
    grandchild = called(desk, child)
    guilty = failed(desk, grandchild, 0, BAD)
    desk.record([guilty, failed(desk, run, 9, OTHER, 30)])
    end(desk, grandchild, BAD), end(desk, child, message="1/1 states failed."), end(desk, run, BAD)
    found = why(desk, run)
    assert (found.task_run_id, found.flow_run_id, found.type) == (guilty.id, grandchild, BAD.type)


def test_in_a_subflow_run_itself(desk):
    run = desk.flow_run()
    child = called(desk, run)
    end(desk, child, BAD), end(desk, run, BAD)
    found = why(desk, run)
    assert (found.task_run_id, found.flow_run_id) == (None, child)


def test_where_no_exception_is_known_the_state_says_it(desk):
    run = desk.flow_run()
    end(desk, run, state=Crashed, message="Its process is gone.")
    found = why(desk, run)
    assert (found.type, found.message, found.traceback) == ("Crashed", "Its process is gone.", "")
    other = desk.flow_run()
    told = failed(desk, other, 3)
    desk.record([told])
    end(desk, other, message="1/1 states failed.")
    found = why(desk, other)
    assert (found.type, found.message, found.task_run_id) == ("Failed", "3 failed", told.id)


def test_a_family_without_end_is_not_searched_to_its_end(desk, monkeypatch):
    monkeypatch.setattr(failures, "_MOST_FLOW_RUNS", 1)
    run = desk.flow_run()
    child = called(desk, run)
    desk.record([failed(desk, child, 0, BAD)])
    end(desk, child), end(desk, run)
    assert why(desk, run).flow_run_id == child
