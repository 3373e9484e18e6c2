"""Correcting task runs from outside: what is executed again, and what counts as done."""

import os
from typing import Any

import msgspec
import pytest

from tidemill import ids, orchestration
from tidemill.exceptions import FlowRunIsLive, IllegalTransition, ObjectNotFound
from tidemill.orchestration import processes
from tidemill.records import Lease, TaskRunEntry
from tidemill.states import (
    COMPLETED,
    CRASHED,
    FAILED,
    RUNNING,
    Completed,
    ErrorSummary,
    Failed,
    ResultReference,
    Running,
    State,
    StateDetails,
    StateType,
)
from tidemill.store import entries, reading

ONE = ResultReference("json", b"1")


@pytest.fixture
def mine() -> Lease:
    return processes.new_lease(os.getpid(), 3600)


class Story:
    """A flow run that completed, made of task runs with names, each given the results of others or called by one."""

    def __init__(self, desk: Any) -> None:
        self.desk = desk
        self.run = desk.flow_run()
        self.ids: dict[str, str] = {}

    def task(self, name: str, *given: str, by: str | None = None, run: str | None = None, subflow: str | None = None) -> str:
        inputs = {"x": [{"input_type": "task_run", "id": self.ids[source]} for source in given]}
        if by is not None:
            inputs["__parents__"] = [{"input_type": "task_run", "id": self.ids[by]}]
        entry = self.desk.entry(
            run or self.run,
            name,
            name=name,
            task_inputs=msgspec.json.encode(inputs).decode(),
            details=StateDetails(child_flow_run_id=subflow) if subflow else None,
            result=ONE,
        )
        self.desk.record([self.desk.advance(entry, RUNNING, COMPLETED)])
        self.ids[name] = entry.id
        return entry.id

    def subflow(self, name: str, *given: str) -> str:
        stand_in = ids.new_id()
        child = self.desk.flow_run(parent_flow_run_id=self.run, parent_task_run_id=stand_in)
        self.task(name, *given, subflow=child)
        self.desk.execute(
            "UPDATE flow_run SET parent_task_run_id = ? WHERE id = ?", ids.to_bytes(self.ids[name]), ids.to_bytes(child)
        )
        return child

    def complete(self, *runs: str) -> None:
        for run in runs or (self.run,):
            self.desk.propose(run, Completed(data=ONE))

    def rerun(self, name: str, run: str | None = None) -> list[str]:
        """The task runs that are to be executed again."""
        orchestration.rerun_from(self.desk.store, run or self.run, self.ids[name])
        return self.awaiting()

    def awaiting(self) -> list[str]:
        found = {name: self.entry(name) for name in self.ids}
        return [name for name, entry in found.items() if entry.progress.name == "AwaitingRerun"]

    def entry(self, name: str) -> TaskRunEntry:
        entry = entries.task_run_entry(self.desk.fetch, self.ids[name])
        assert entry is not None
        return entry

    def state(self, run: str | None = None) -> tuple[StateType | None, str | None]:
        record = reading.flow_run(self.desk.fetch, run or self.run)
        assert record is not None
        return record.state_type, record.state_name


@pytest.fixture
def story(desk: Any) -> Story:
    return Story(desk)


class TestRerunning:
    def test_what_was_given_the_result_follows_and_the_rest_does_not(self, story: Story) -> None:
        for name, *given in (["a"], ["b", "a"], ["c", "b"], ["d"], ["e", "d", "c"], ["f", "d"]):
            story.task(name, *given)
        story.complete()
        assert story.rerun("b") == ["b", "c", "e"]

    def test_an_entry_that_awaits_its_execution_has_no_result_and_keeps_its_story(self, story: Story) -> None:
        story.task("a")
        story.complete()
        story.rerun("a")
        entry = story.entry("a")
        assert (entry.progress.type, entry.progress.end_time, entry.result) == (StateType.SCHEDULED, None, None)
        assert [step[0] for step in entry.progress.history] == ["PENDING", "RUNNING", "COMPLETED", "SCHEDULED"]
        assert entry.progress.history[-1][1:3] == ("AwaitingRerun", "To be executed again, from task run 'a' on.")
        assert story.desk.store.database.check() == []

    def test_what_a_task_called_runs_again_with_it(self, story: Story) -> None:
        story.task("outer")
        for name in ("inner", "other"):
            story.task(name, by="outer")
        story.task("innermost", by="inner")
        story.complete()
        assert story.rerun("outer") == ["outer", "inner", "other", "innermost"]

    def test_what_calls_a_task_runs_again_but_not_what_else_it_called(self, story: Story) -> None:
        story.task("outer")
        for name in ("inner", "other"):
            story.task(name, by="outer")
        story.task("after", "outer")
        story.task("called after", by="after")
        story.complete()
        assert story.rerun("inner") == ["outer", "inner", "after", "called after"]

    def test_a_run_that_completed_can_then_be_begun_again(self, story: Story, mine: Lease) -> None:
        story.task("a")
        story.complete()
        story.rerun("a")
        assert story.state() == (StateType.SCHEDULED, "AwaitingRerun")
        assert orchestration.begin_next_attempt(story.desk.store, story.run, mine).attempt == 2
        assert story.state() == (RUNNING, "Retrying")

    def test_a_run_that_failed_keeps_that_state(self, story: Story, mine: Lease) -> None:
        story.task("a")
        story.desk.propose(story.run, Failed())
        story.rerun("a")
        assert story.state() == (FAILED, "Failed")

    def test_a_subflow_downstream_runs_again_whole(self, story: Story) -> None:
        story.task("a")
        child = story.subflow("child", "a")
        story.task("in child", run=child)
        story.task("b", "child")
        story.complete(child, story.run)
        assert story.rerun("a") == ["a", "child", "in child", "b"]
        assert story.state(child) == (StateType.SCHEDULED, "AwaitingRerun")
        assert story.entry("child").details == StateDetails(child_flow_run_id=child)

    def test_a_task_of_a_subflow_can_be_chosen(self, story: Story) -> None:
        story.task("a")
        child = story.subflow("child", "a")
        for name, *given in (["x"], ["y", "x"], ["z"]):
            story.task(name, *given, run=child)
        story.task("b", "child")
        story.complete(child, story.run)
        assert story.rerun("x") == ["child", "x", "y", "b"]
        assert story.state(child) == story.state() == (StateType.SCHEDULED, "AwaitingRerun")

    def test_within_a_subflow_run_alone_its_parent_is_left_alone(self, story: Story) -> None:
        child = story.subflow("child")
        story.task("x", run=child)
        story.complete(child, story.run)
        assert story.rerun("x", child) == ["x"]
        assert story.state() == (COMPLETED, "Completed")

    def test_a_subflow_run_that_was_deleted_does_not_hinder_it(self, story: Story) -> None:
        child = story.subflow("child")
        story.complete(child, story.run)
        orchestration.delete_flow_run(story.desk.store, child)
        assert story.rerun("child") == ["child"]

    def test_a_run_at_work_is_refused(self, story: Story, mine: Lease) -> None:
        story.task("a")
        story.complete()
        orchestration.begin_next_attempt(story.desk.store, story.run, mine, again=True)
        with pytest.raises(FlowRunIsLive):
            story.rerun("a")
        assert story.awaiting() == []

    def test_what_does_not_exist_is_told(self, story: Story) -> None:
        other = Story(story.desk)
        other.task("a")
        for task_run in (other.ids["a"], ids.new_id()):
            with pytest.raises(ObjectNotFound, match=r"'adept-capuchin' has no such task run"):
                orchestration.rerun_from(story.desk.store, story.run, task_run)
        with pytest.raises(ObjectNotFound, match="There is no flow run"):
            orchestration.rerun_from(story.desk.store, ids.new_id(), other.ids["a"])

    def test_a_long_chain_is_no_matter(self, story: Story) -> None:
        chain, before = [], None
        for n in range(3_000):
            inputs = {"x": [{"input_type": "task_run", "id": before}] if before else []}
            entry = story.desk.entry(story.run, n, task_inputs=msgspec.json.encode(inputs).decode())
            chain.append(story.desk.advance(entry, COMPLETED))
            before = entry.id
        story.desk.record(chain)
        story.complete()
        orchestration.rerun_from(story.desk.store, story.run, chain[0].id)
        assert len(entries.unfinished_task_runs(story.desk.fetch, story.run)) == 3_000


def test_a_completed_run_can_be_begun_again_where_that_is_asked_for(story: Story, mine: Lease) -> None:
    story.complete()
    assert orchestration.begin_next_attempt(story.desk.store, story.run, mine).verdict.status == "REJECT"
    started = orchestration.begin_next_attempt(story.desk.store, story.run, mine, again=True)
    assert (started.verdict.status, started.attempt) == ("ACCEPT", 2)
    story.complete()
    started = orchestration.begin_next_attempt(story.desk.store, story.run, mine, again=True)
    assert started.attempt == 3


class TestSettingStates:
    @pytest.fixture
    def failed(self, desk: Any) -> str:
        run = desk.flow_run()
        error = StateDetails(error=ErrorSummary("E", "m", "t"))
        entry = desk.advance(desk.entry(run, details=error, result=ResultReference("pickle", b"e")), RUNNING, FAILED)
        desk.record([entry])
        desk.propose(run, Failed())
        return entry.id

    def set_state(self, desk: Any, task_run: str, state: State[Any]) -> TaskRunEntry:
        orchestration.set_task_run_state(desk.store, task_run, state)
        entry = entries.task_run_entry(desk.fetch, task_run)
        assert entry is not None
        return entry

    @pytest.mark.parametrize(("data", "kept"), [(ONE, ONE), (None, ResultReference("json", b"null"))])
    def test_a_failed_one_may_count_as_completed(self, desk: Any, failed: str, data: Any, kept: Any) -> None:
        entry = self.set_state(desk, failed, Completed(data=data, message="by hand"))
        assert (entry.progress.type, entry.result, entry.details) == (COMPLETED, kept, None)
        assert [step[0] for step in entry.progress.history] == ["PENDING", "RUNNING", "FAILED", "COMPLETED"]
        assert entry.progress.history[-1][1:3] == (None, "by hand")

    def test_a_completed_one_may_count_as_failed(self, desk: Any, failed: str) -> None:
        self.set_state(desk, failed, Completed(data=ONE))
        entry = self.set_state(desk, failed, Failed(name="Rejected", message="wrong"))
        assert (entry.progress.type, entry.progress.name, entry.result) == (FAILED, "Rejected", None)

    def test_one_outside_a_flow_can_be_set(self, desk: Any) -> None:
        alone = desk.advance(desk.entry(None), RUNNING)
        desk.record([alone])
        assert self.set_state(desk, alone.id, Failed()).progress.type is FAILED

    def test_one_of_a_run_at_work_only_once_it_has_ended(self, desk: Any, mine: Lease) -> None:
        run = desk.flow_run(lease=mine)
        ended, running = desk.advance(desk.entry(run, 0), RUNNING, FAILED), desk.advance(desk.entry(run, 1), RUNNING)
        desk.record([ended, running], leases=[mine])
        assert self.set_state(desk, ended.id, Completed()).progress.type is COMPLETED
        with pytest.raises(FlowRunIsLive, match=r"Task run 'step-1' has not ended.*tidemill flow-run cancel"):
            self.set_state(desk, running.id, Completed())

    def test_one_of_a_run_whose_process_is_gone_is_taken_from_it(self, desk: Any) -> None:
        run = desk.flow_run()  # the lease of a machine that is long gone
        running = desk.advance(desk.entry(run), RUNNING)
        desk.record([running])
        entry = self.set_state(desk, running.id, Completed(data=ONE))
        assert [step[0] for step in entry.progress.history] == ["PENDING", "RUNNING", "CRASHED", "COMPLETED"]
        assert reading.flow_run(desk.fetch, run).state_type is CRASHED  # type: ignore[union-attr]

    def test_only_a_final_state_can_be_set(self, desk: Any, failed: str) -> None:
        with pytest.raises(IllegalTransition, match="--from"):
            self.set_state(desk, failed, Running())

    def test_one_that_does_not_exist_is_told(self, desk: Any) -> None:
        with pytest.raises(ObjectNotFound):
            self.set_state(desk, ids.new_id(), Completed())
