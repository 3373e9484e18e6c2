"""What every store promises to those who record: once is as good as twice, the stale are refused, nothing is lost."""

import json
from typing import Any

import pytest

from tidemill import ids
from tidemill.filters import EVERYTHING, Page, TaskRunSort
from tidemill.records import Batch, TaskRunPolicy
from tidemill.states import (
    CANCELLED,
    COMPLETED,
    CRASHED,
    FAILED,
    RUNNING,
    SCHEDULED,
    Crashed,
    ErrorSummary,
    ResultReference,
    Running,
    StateDetails,
)
from tidemill.store import reading

SIZES = [1, 3, 4, 65, 300, 1000]


def task_runs(desk: Any) -> list[Any]:
    return reading.task_runs(desk.fetch, EVERYTHING, TaskRunSort.ID_DESC, Page(5_000))[::-1]


class TestRecord:
    def test_a_task_run_comes_back_whole(self, desk: Any) -> None:
        run = desk.flow_run()
        entry = desk.entry(
            run,
            name="add_one-3c3112ef-0",
            task_version="2",
            tags='["a","b"]',
            policy='{"retries":2,"retry_delay":1.5}',
            task_inputs='{"x":[{"input_type":"task_run","id":"i"}]}',
            cache_key="key",
            details=StateDetails(error=ErrorSummary("builtins.ValueError", "x", "Traceback")),
            result=ResultReference("json", b"42"),
        )
        desk.record([desk.advance(entry, RUNNING, SCHEDULED, RUNNING, COMPLETED)])
        (read,) = task_runs(desk)
        assert (read.id, read.flow_run_id, read.name) == (entry.id, run, "add_one-3c3112ef-0")
        assert (read.task_key, read.dynamic_key, read.task_version) == ("module.step", "0", "2")
        assert (read.tags, read.cache_key) == (["a", "b"], "key")
        assert read.empirical_policy == TaskRunPolicy(retries=2, retry_delay=1.5)
        assert read.task_inputs == {"x": [{"input_type": "task_run", "id": "i"}]}
        assert (read.run_count, read.flow_run_run_count, read.total_run_time) == (2, 1, 2.0)
        assert (read.state_type, read.state_name) == (COMPLETED, "Completed")
        assert read.start_time is not None
        assert read.end_time is not None
        assert (read.end_time - read.start_time).total_seconds() == 3.0
        assert read.state.result() == 42

    @pytest.mark.parametrize(
        "result", [None, ResultReference("pickle", b"\x00\xff" * 4_000), ResultReference("json", None, ids.new_id())]
    )
    def test_a_result_comes_back_as_it_was_kept(self, desk: Any, result: ResultReference | None) -> None:
        desk.record([desk.advance(desk.entry(result=result), RUNNING, COMPLETED)])
        assert desk.rows("task_run", "result_serializer, result, result_key") == [tuple(result or (None, None, None))]

    def test_every_state_of_a_task_run_is_kept_with_its_time(self, desk: Any) -> None:
        entry = desk.entry()
        entry.progress = entry.progress.then(RUNNING, None, None, 0).then(FAILED, "TimedOut", 'a "reason" ü', 0)
        desk.record([entry])
        states = reading.task_run_states(desk.fetch, entry.id)
        assert [(state.name, state.message) for state in states] == [
            ("Pending", None),
            ("Running", None),
            ("TimedOut", 'a "reason" ü'),
        ]
        assert sorted(state.timestamp for state in states) == [state.timestamp for state in states]

    def test_recording_twice_is_recording_once(self, desk: Any) -> None:
        run = desk.flow_run()
        entries = [desk.advance(desk.entry(run, n), RUNNING, COMPLETED) for n in range(5)]
        desk.record(entries)
        once = desk.rows("task_run")
        assert desk.record(entries) == {}
        assert desk.rows("task_run") == once

    def test_progress_is_written_over_what_was_recorded_before(self, desk: Any) -> None:
        run = desk.flow_run()
        entry = desk.advance(desk.entry(run), RUNNING)
        desk.record([entry])
        entry.result = ResultReference("json", b"1")
        desk.record([desk.advance(entry, FAILED, RUNNING, COMPLETED)])
        (read,) = task_runs(desk)
        assert (read.state_name, read.run_count) == ("Completed", 2)
        assert len(reading.task_run_states(desk.fetch, entry.id)) == 5

    def test_what_a_task_run_is_never_changes(self, desk: Any) -> None:
        run, other = desk.flow_run(), desk.flow_run()
        entry = desk.entry(run)
        desk.record([entry])
        desk.record([desk.entry(other, 7, id=entry.id, created=1, task_key="other", name="renamed")])
        (row,) = desk.rows("task_run", "flow_run_id, task_key, dynamic_key, created, name")
        assert row == (ids.to_bytes(run), "module.step", "0", entry.created, "renamed")

    @pytest.mark.parametrize("size", SIZES)
    def test_a_batch_of_any_size_comes_back_complete(self, desk: Any, size: int) -> None:
        runs = [desk.flow_run() for _ in range(min(size, 3))]
        entries = [desk.advance(desk.entry(runs[n % len(runs)], n), RUNNING, COMPLETED) for n in range(size)]
        lines = [desk.line(runs[n % len(runs)], f"line {n}", entries[n].id) for n in range(size)]
        assert desk.record(entries, lines) == {}
        assert {(run.id, run.name, run.flow_run_id) for run in task_runs(desk)} == {
            (entry.id, entry.name, entry.flow_run_id) for entry in entries
        }
        assert desk.rows("log", "message", "seq") == [(f"line {n}",) for n in range(size)]

    def test_an_empty_batch_changes_nothing(self, desk: Any) -> None:
        assert desk.record() == {}
        assert desk.count("task_run") == desk.count("log") == 0

    def test_more_flow_runs_than_fit_a_query_are_told_apart(self, desk: Any) -> None:
        gone = [ids.new_id() for _ in range(1_200)]
        kept = desk.flow_run()
        refused = desk.record([desk.entry(run) for run in (*gone, kept)])
        assert set(refused) == set(gone)
        assert desk.count("task_run") == 1

    def test_tasks_outside_a_flow_may_have_the_same_key(self, desk: Any) -> None:
        assert desk.record([desk.entry(None), desk.entry(None)], [desk.line(None, "alone", ids.new_id())], leases=()) == {}
        assert desk.count("task_run") == 2
        assert desk.count("log") == 1

    def test_text_of_any_kind_comes_back(self, desk: Any) -> None:
        texts = ["", "ü 日 🌊", "quote ' \" \\ %", "two\nlines\r\n", "\x00\x01\x7f", "x" * 100_000]
        desk.record(logs=[desk.line(None, text) for text in texts])
        if desk.store.database.kind == "postgres":  # which keeps no NUL: what is kept shows that there was one
            texts = [text.replace("\x00", "\u2400") for text in texts]
        assert desk.rows("log", "message", "seq") == [(text,) for text in texts]


class TestRefusal:
    """What another attempt, another process or a deletion has overtaken is refused; the rest of the batch is written."""

    def refused(self, desk: Any, run: str, word: str, **entry: Any) -> None:
        healthy = desk.flow_run()
        stale = desk.entry(run, "stale", **entry)
        refused = desk.record([desk.entry(healthy, 0), stale, desk.entry(healthy, 1), desk.entry(None)])
        assert list(refused) == [run]
        attempt, reason = refused[run]
        assert attempt == stale.attempt
        assert word in reason
        written = {row[0] for row in desk.rows("task_run", "id")}
        assert ids.to_bytes(stale.id) not in written
        assert len(written) == 3

    def test_a_stale_attempt(self, desk: Any) -> None:
        run = desk.flow_run()
        desk.propose(run, Running())
        self.refused(desk, run, "attempt 2 of the flow run has taken over from attempt 1", attempt=1)

    def test_an_attempt_that_was_never_begun(self, desk: Any) -> None:
        self.refused(desk, desk.flow_run(), "attempt 1", attempt=2)

    def test_a_run_that_another_process_holds(self, desk: Any) -> None:
        self.refused(desk, desk.flow_run(lease=desk.another_lease()), "another process holds the flow run")

    def test_a_run_that_was_deleted(self, desk: Any) -> None:
        run = desk.flow_run()
        desk.execute("DELETE FROM flow_run WHERE id = ?", ids.to_bytes(run))
        self.refused(desk, run, "deleted")

    def test_a_run_that_was_declared_crashed(self, desk: Any) -> None:
        run = desk.flow_run()
        desk.propose(run, Crashed())
        self.refused(desk, run, "declared crashed")

    def test_an_entry_that_was_recorded_before_is_not_changed_by_the_stale(self, desk: Any) -> None:
        run = desk.flow_run()
        entry = desk.advance(desk.entry(run), RUNNING)
        desk.record([entry])
        before = desk.rows("task_run")
        desk.propose(run, Running())
        assert run in desk.record([desk.advance(entry, COMPLETED)])
        assert desk.rows("task_run") == before

    def test_each_refused_run_is_named_once_with_its_reason(self, desk: Any) -> None:
        crashed, gone = desk.flow_run(), ids.new_id()
        desk.propose(crashed, Crashed())
        refused = desk.record([desk.entry(run, n) for run in (crashed, gone) for n in range(3)])
        assert refused == {crashed: (1, "the flow run was declared crashed"), gone: (1, "the flow run was deleted")}

    def test_lines_of_a_deleted_run_are_dropped_and_others_kept(self, desk: Any) -> None:
        run = desk.flow_run()
        desk.record(logs=[desk.line(ids.new_id(), "of nobody"), desk.line(run, "kept")])
        assert desk.rows("log", "message") == [("kept",)]

    @pytest.mark.parametrize("type", [COMPLETED, FAILED, CANCELLED])
    def test_what_comes_after_the_end_of_a_run_in_its_own_process_is_still_written(self, desk: Any, type: Any) -> None:
        run = desk.flow_run()
        state = Running()
        state.type, state.name = type, type.value.capitalize()
        desk.propose(run, state, lease_id=desk.lease.id, attempt=1)
        assert desk.record([desk.advance(desk.entry(run), CRASHED)]) == {}

    def test_one_of_several_leases_is_enough(self, desk: Any) -> None:
        first, second = desk.another_lease(), desk.another_lease()
        runs = [desk.flow_run(lease=lease) for lease in (first, second)]
        assert desk.record([desk.entry(run) for run in runs], leases=(first, second)) == {}


class TestAtomicity:
    def test_a_transaction_that_raises_leaves_nothing(self, desk: Any) -> None:
        def write_and_fail() -> None:
            with desk.store.transaction() as execute:
                execute("INSERT INTO log (level, timestamp, name, message) VALUES (20, 0, 'x', 'x')", ())
                raise KeyError

        with pytest.raises(KeyError):
            write_and_fail()
        assert desk.count("log") == 0

    def test_a_batch_with_an_entry_that_cannot_be_written_leaves_nothing(self, desk: Any) -> None:
        run = desk.flow_run()
        bad = desk.entry(run, 1, task_key=None)
        with pytest.raises(Exception, match="NOT NULL"):
            desk.store.record(Batch([desk.entry(run, 0), bad], [desk.line(run, "x")], (desk.lease.id,)))
        assert desk.count("task_run") == desk.count("log") == 0

    def test_what_was_committed_is_seen_by_the_next_who_opens_it(self, desk: Any, open_same_store: Any) -> None:
        run = desk.flow_run()
        desk.record([desk.entry(run)], [desk.line(run, "said")])
        other = open_same_store()
        assert other.database.fetch("SELECT message FROM log") == [("said",)]
        assert json.loads(other.database.fetch("SELECT history FROM task_run")[0][0])[0][0] == "PENDING"


def test_lines_keep_the_order_of_their_commits(desk: Any, open_same_store: Any) -> None:
    run = desk.flow_run()
    others = open_same_store()
    for n in range(10):
        desk.record(logs=[desk.line(run, f"{n} a"), desk.line(run, f"{n} b")])
        others.record(Batch([], [desk.line(run, f"{n} c")], ()))
    expected = [f"{n} {letter}" for n in range(10) for letter in "abc"]
    assert [log.message for log in reading.logs_after(desk.fetch, 0, run)] == expected
