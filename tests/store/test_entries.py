"""Task runs read back whole, and written again."""

from typing import Any

from tidemill import ids
from tidemill.records import TaskRunEntry
from tidemill.states import COMPLETED, CRASHED, FAILED, PENDING, RUNNING, ErrorSummary, ResultReference, StateDetails
from tidemill.store import entries, reading


def as_told(entry: TaskRunEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in TaskRunEntry.__struct_fields__}


def full_entry(desk: Any, run: str | None, key: int) -> TaskRunEntry:
    entry = desk.entry(
        run,
        key,
        tags='["a"]',
        policy='{"retries":2}',
        task_version="7",
        task_inputs='{"x":[]}',
        details=StateDetails(error=ErrorSummary("E", "m", "t")),
        input_hash="hash",
        cache_key="cache",
        result=ResultReference("pickle", None, "file"),
    )
    return desk.advance(entry, RUNNING, FAILED)


def test_an_entry_comes_back_as_it_was_written(desk: Any) -> None:
    run = desk.flow_run()
    written = [full_entry(desk, run, 0), desk.entry(run, 1), desk.advance(desk.entry(run, 2), RUNNING)]
    written[2].result = ResultReference("json", b"1")
    desk.record(written[::-1])
    desk.record([desk.entry(desk.flow_run(), 0)])
    assert [as_told(entry) for entry in entries.task_run_entries(desk.fetch, run)] == [as_told(entry) for entry in written]


def test_one_is_found_by_its_id(desk: Any) -> None:
    alone = full_entry(desk, None, 0)
    desk.record([alone])
    found = entries.task_run_entry(desk.fetch, alone.id)
    assert found is not None
    assert as_told(found) == as_told(alone)
    assert entries.task_run_entry(desk.fetch, ids.new_id()) is None


def test_what_was_read_can_go_on_and_be_recorded(desk: Any) -> None:
    run = desk.flow_run()
    desk.record([desk.advance(desk.entry(run), RUNNING)])
    (entry,) = entries.task_run_entries(desk.fetch, run)
    desk.record([desk.advance(entry, COMPLETED)])
    (ended,) = entries.task_run_entries(desk.fetch, run)
    assert [step[0] for step in ended.progress.history] == ["PENDING", "RUNNING", "COMPLETED"]


def test_only_the_unfinished_can_be_asked_for(desk: Any) -> None:
    run = desk.flow_run()
    unfinished = [desk.entry(run, 0), desk.advance(desk.entry(run, 1), RUNNING)]
    desk.record([*unfinished, desk.advance(desk.entry(run, 2), COMPLETED), desk.advance(desk.entry(run, 3), CRASHED)])
    assert [entry.id for entry in entries.unfinished_task_runs(desk.fetch, run)] == [entry.id for entry in unfinished]


def test_a_shorter_story_never_replaces_a_longer_one(desk: Any) -> None:
    """A child process that executed a task and its parent both record the task's run, in any order."""
    run = desk.flow_run()
    entry = desk.advance(desk.entry(run), RUNNING)
    early = entry.progress
    entry.result = ResultReference("json", b"1")
    desk.record([desk.advance(entry, COMPLETED)])
    entry.progress, entry.result = early, None
    desk.record([entry])
    (kept,) = entries.task_run_entries(desk.fetch, run)
    assert (kept.progress.type, kept.result) == (COMPLETED, ResultReference("json", b"1"))
    assert early.type is not PENDING


def test_the_call_of_a_flow_run_is_kept(desk: Any) -> None:
    run, plain = desk.flow_run(call=("pickle", b"\x80\x04")), desk.flow_run()
    assert reading.flow_run_call(desk.fetch, run) == ("pickle", b"\x80\x04")
    assert reading.flow_run_call(desk.fetch, plain) is None
    assert reading.flow_run_call(desk.fetch, ids.new_id()) is None
