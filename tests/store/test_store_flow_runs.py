"""What every store promises about flow runs: states proposed and decided in one transaction, leases, deletion."""

from datetime import timedelta
from typing import Any

import pytest

from tidemill import clock, ids, orchestration
from tidemill.exceptions import ObjectNotFound, StoreError
from tidemill.records import NewFlowRun
from tidemill.states import (
    CANCELLED,
    COMPLETED,
    CRASHED,
    FAILED,
    PENDING,
    RUNNING,
    Cancelled,
    Cancelling,
    Completed,
    Crashed,
    Failed,
    Paused,
    Pending,
    ResultReference,
    Running,
    Scheduled,
)
from tidemill.store import leases, reading

KEPT = ResultReference("json", b"42")


def read(desk: Any, run: str) -> Any:
    return reading.flow_run(desk.fetch, run)


def history(desk: Any, run: str) -> list[str]:
    return [state.name for state in reading.flow_run_states(desk.fetch, run)]


def lease_of(desk: Any, run: str) -> str | None:
    ((lease,),) = desk.fetch("SELECT lease_id FROM flow_run WHERE id = ?", (ids.to_bytes(run),))
    return ids.from_bytes(lease) if lease else None


class TestCreation:
    def test_a_flow_run_comes_back_whole(self, desk: Any) -> None:
        parent, task = ids.new_id(), ids.new_id()
        run = desk.flow_run(
            name="adept-capuchin",
            flow_name="etl",
            flow_version="3",
            entrypoint="flows.py:etl",
            parameters=b'{"x": [1, "a"]}',
            tags=("a", "b"),
            retries=2,
            parent_task_run_id=task,
            parent_flow_run_id=parent,
            idempotency_key="key",
        )
        record = read(desk, run)
        assert (record.name, record.flow_name, record.flow_version) == ("adept-capuchin", "etl", "3")
        assert (record.entrypoint, record.parameters, record.tags) == ("flows.py:etl", {"x": [1, "a"]}, ["a", "b"])
        assert record.empirical_policy.retries == 2
        assert (record.parent_task_run_id, record.parent_flow_run_id, record.idempotency_key) == (task, parent, "key")
        assert (record.run_count, record.state_type) == (1, RUNNING)
        assert history(desk, run) == ["Pending", "Running"]

    def test_flows_of_one_name_are_one_flow(self, desk: Any) -> None:
        runs = [desk.flow_run(flow_name=name) for name in ("a", "b", "a")]
        flows = [read(desk, run).flow_id for run in runs]
        assert flows[0] == flows[2] != flows[1]
        assert desk.count("flow") == 2

    def test_the_verdict_on_the_last_state_is_the_answer(self, desk: Any) -> None:
        run = NewFlowRun(id=ids.new_id(), name="x", flow_name="etl")
        started = orchestration.create_flow_run(desk.store, run, [Pending(), Running()], desk.lease)
        assert (started.flow_run_id, started.verdict.status, started.verdict.attempt) == (run.id, "ACCEPT", 1)

    def test_states_after_one_that_is_not_accepted_are_not_tried(self, desk: Any) -> None:
        later = clock.to_datetime(clock.now()) + timedelta(hours=1)
        run = NewFlowRun(id=ids.new_id(), name="x", flow_name="etl")
        states = [Scheduled(scheduled_time=later), Running(), Completed()]
        started = orchestration.create_flow_run(desk.store, run, states, None)
        assert started.verdict.status == "WAIT"
        assert 3590 < started.verdict.delay_seconds <= 3600
        assert history(desk, run.id) == ["Scheduled"]

    def test_a_run_cannot_be_created_twice_and_the_second_leaves_nothing(self, desk: Any) -> None:
        run = desk.flow_run()
        with pytest.raises(StoreError, match="UNIQUE"):
            desk.flow_run(id=run, flow_name="another")
        assert desk.count("flow_run") == desk.count("flow") == 1


class TestProposing:
    def test_an_accepted_state_is_written_with_what_follows_from_it(self, desk: Any) -> None:
        run = desk.flow_run()
        verdict = desk.propose(run, Completed(data=KEPT, message="well"), lease_id=desk.lease.id, attempt=1)
        assert (verdict.status, verdict.attempt) == ("ACCEPT", 1)
        record = read(desk, run)
        assert (record.state_type, record.state_name, record.state.message) == (COMPLETED, "Completed", "well")
        assert record.state.result() == 42
        assert record.end_time == record.state.timestamp
        assert record.total_run_time == (record.end_time - record.start_time).total_seconds()
        assert lease_of(desk, run) is None

    def test_a_rejected_state_is_not_written_and_the_reason_is_told(self, desk: Any) -> None:
        run = desk.flow_run()
        desk.propose(run, Completed(data=KEPT))
        verdict = desk.propose(run, Running())
        assert (verdict.status, verdict.state, verdict.reason) == ("REJECT", None, "Run is already COMPLETED.")
        assert history(desk, run) == ["Pending", "Running", "Completed"]

    def test_another_state_may_be_written_instead(self, desk: Any) -> None:
        run = desk.flow_run(retries=1)
        verdict = desk.propose(run, Failed(message="why"), lease_id=desk.lease.id, attempt=1)
        assert (verdict.status, verdict.state.name, verdict.reason) == ("REJECT", "AwaitingRetry", "Retrying")
        assert history(desk, run)[-1] == "AwaitingRetry"
        assert desk.propose(run, Running(), lease_id=desk.lease.id, attempt=1).attempt == 2
        assert history(desk, run)[-1] == "Retrying"
        assert desk.propose(run, Failed(), lease_id=desk.lease.id, attempt=2).status == "ACCEPT"

    def test_a_state_that_is_aborted_is_not_written(self, desk: Any) -> None:
        run = desk.flow_run()
        desk.propose(run, Failed())
        verdict = desk.propose(run, Crashed())
        assert (verdict.status, verdict.reason) == ("ABORT", "This run has already ended.")
        assert history(desk, run)[-1] == "Failed"

    @pytest.mark.parametrize("attempt", [0, 1, 3])
    def test_an_attempt_that_is_not_the_current_one_is_told_to_stop(self, desk: Any, attempt: int) -> None:
        run = desk.flow_run()
        desk.propose(run, Running())
        verdict = desk.propose(run, Completed(), lease_id=desk.lease.id, attempt=attempt)
        assert (verdict.status, verdict.attempt) == ("ABORT", 2)
        assert read(desk, run).state_type is RUNNING

    def test_a_process_that_does_not_hold_the_run_is_told_to_stop(self, desk: Any) -> None:
        run = desk.flow_run()
        verdict = desk.propose(run, Completed(), lease_id=ids.new_id(), attempt=1)
        assert verdict.status == "ABORT"
        assert read(desk, run).state_type is RUNNING

    def test_the_same_transition_is_made_once(self, desk: Any) -> None:
        run = desk.flow_run()
        verdicts = []
        for _ in range(2):
            state = Cancelling()
            state.state_details.transition_id = "one"
            verdicts.append(desk.propose(run, state).status)
        assert verdicts == ["ACCEPT", "REJECT"]
        assert history(desk, run) == ["Pending", "Running", "Cancelling"]

    def test_an_outsider_needs_no_attempt(self, desk: Any) -> None:
        run = desk.flow_run()
        assert desk.propose(run, Cancelling()).status == "ACCEPT"
        assert desk.propose(run, Completed(), lease_id=desk.lease.id, attempt=1).status == "REJECT"
        assert desk.propose(run, Cancelled(), lease_id=desk.lease.id, attempt=1).status == "ACCEPT"
        assert read(desk, run).state_type is CANCELLED

    def test_every_state_is_kept_and_times_only_grow_whatever_the_clock_does(self, desk: Any) -> None:
        run = desk.flow_run(retries=1)
        with clock.travel(-3600):
            for state in (Failed(), Running(), Paused(), Running(), Failed()):
                desk.propose(run, state)
        states = reading.flow_run_states(desk.fetch, run)
        assert [state.name for state in states] == [
            *("Pending", "Running", "AwaitingRetry", "Retrying", "Paused", "Running", "Failed"),
        ]
        times = [state.timestamp for state in states]
        assert times == sorted(set(times))
        assert read(desk, run).run_count == 3

    def test_only_the_time_in_running_counts(self, desk: Any) -> None:
        run = desk.flow_run()
        for seconds, state in ((10, Paused), (100, Running), (105, Failed)):
            with clock.travel(seconds):
                desk.propose(run, state())
        assert read(desk, run).total_run_time == pytest.approx(15, abs=1)

    def test_text_that_is_no_unicode_does_not_hinder_it(self, desk: Any) -> None:
        run = desk.flow_run()
        assert desk.propose(run, Failed(name="Odd \ud800", message="odd \ud800")).status == "ACCEPT"
        assert read(desk, run).state_type is FAILED

    def test_a_run_that_does_not_exist_is_told(self, desk: Any) -> None:
        gone = ids.new_id()
        with pytest.raises(ObjectNotFound, match=gone):
            desk.propose(gone, Running())


class TestLeases:
    def row(self, desk: Any) -> tuple[int, int]:
        ((acquired, deadline),) = desk.rows("lease", "acquired, deadline")
        return acquired, deadline

    def test_the_lease_of_a_run_is_recorded_with_it_once(self, desk: Any) -> None:
        runs = [desk.flow_run() for _ in range(3)]
        assert self.row(desk) == (desk.lease.acquired, desk.lease.deadline)
        assert {lease_of(desk, run) for run in runs} == {desk.lease.id}

    def test_recording_it_again_does_not_shorten_it(self, desk: Any) -> None:
        desk.flow_run()
        orchestration.renew_lease(desk.store, desk.lease, 60)
        renewed = self.row(desk)
        desk.flow_run()
        assert self.row(desk) == renewed

    def test_it_is_renewed_from_now_on(self, desk: Any) -> None:
        desk.flow_run()
        before = clock.now()
        orchestration.renew_lease(desk.store, desk.lease, 60)
        acquired, deadline = self.row(desk)
        assert before + 60_000_000 <= deadline <= clock.now() + 60_000_000
        assert acquired == desk.lease.acquired

    def test_whether_it_is_still_there_is_told(self, desk: Any) -> None:
        desk.flow_run()
        with desk.store.transaction() as execute:
            assert leases.renew_lease(execute, desk.lease.id, 1)
            assert not leases.renew_lease(execute, ids.new_id(), 1)

    def test_given_back_it_holds_nothing(self, desk: Any) -> None:
        run = desk.flow_run()
        orchestration.release_lease(desk.store, desk.lease)
        assert desk.count("lease") == 0
        assert lease_of(desk, run) is None
        state = read(desk, run).state
        assert (state.type, state.message) == (CRASHED, "The process that ran it ended before it did (process 1 on host host).")

    @pytest.mark.parametrize(("state", "held"), [(Cancelling, True), (Paused, False), (Failed, False), (Crashed, False)])
    def test_a_run_is_held_only_while_somebody_works_on_it(self, desk: Any, state: Any, held: bool) -> None:
        run = desk.flow_run()
        desk.propose(run, state())
        assert (lease_of(desk, run) is not None) is held

    def test_a_new_attempt_is_held_by_whoever_begins_it(self, desk: Any) -> None:
        run = desk.flow_run()
        desk.propose(run, Failed())
        other = desk.another_lease()
        with desk.store.transaction() as execute:
            leases.ensure_lease(execute, other)
        assert desk.propose(run, Running(), lease_id=other.id).status == "ACCEPT"
        assert lease_of(desk, run) == other.id

    def test_a_run_that_waits_to_begin_is_nobodys(self, desk: Any) -> None:
        run = desk.flow_run([Scheduled()])
        assert lease_of(desk, run) is None
        assert read(desk, run).run_count == 0
        assert desk.propose(run, Pending()).state.type is PENDING


class TestDeletion:
    def test_it_takes_everything_of_the_run_and_nothing_else(self, desk: Any) -> None:
        gone, kept = desk.flow_run(), desk.flow_run()
        for run in (gone, kept):
            entry = desk.entry(run)
            desk.record([entry], [desk.line(run, "x"), desk.line(run, "y", entry.id)])
        orchestration.delete_flow_run(desk.store, gone)
        counts = {table: desk.count(table) for table in ("flow_run", "flow_run_state", "task_run", "log", "flow", "lease")}
        assert counts == {"flow_run": 1, "flow_run_state": 2, "task_run": 1, "log": 2, "flow": 1, "lease": 1}
        assert read(desk, gone) is None
        assert read(desk, kept).id == kept

    def test_a_run_that_does_not_exist_is_told(self, desk: Any) -> None:
        with pytest.raises(ObjectNotFound, match="tidemill flow-run ls"):
            orchestration.delete_flow_run(desk.store, ids.new_id())
