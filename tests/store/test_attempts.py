"""Beginning a flow run again: by its idempotency key or by its id, by one process only, and never once it completed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tidemill import clock, ids, orchestration
from tidemill.exceptions import FlowRunIsLive, ObjectNotFound
from tidemill.orchestration import Started, processes
from tidemill.records import Lease, NewFlowRun, RunPolicy
from tidemill.states import (
    COMPLETED,
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
    Unkept,
)
from tidemill.store import reading

HOST = os.uname().nodename
KEPT = ResultReference("json", b"42")


def lease_of_process(pid: int, *, seconds: float = 30) -> Lease:
    """The lease of a process of this machine."""
    return processes.new_lease(pid, seconds)


@pytest.fixture
def another_process() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def mine() -> Lease:
    return lease_of_process(os.getpid())


def create(desk: Any, lease: Lease | None, key: str | None = "key", name: str = "adept-capuchin", flow: str = "etl") -> Started:
    run = NewFlowRun(id=ids.new_id(), name=name, flow_name=flow, idempotency_key=key)
    return orchestration.create_flow_run(desk.store, run, [Pending(), Running()], lease)


def history(desk: Any, run: str) -> list[str]:
    return [state.name for state in reading.flow_run_states(desk.fetch, run)]


class TestIdempotencyKey:
    def test_the_first_call_creates(self, desk: Any, mine: Lease) -> None:
        started = create(desk, mine)
        assert (started.existed, started.attempt, started.name) == (False, 1, "adept-capuchin")

    def test_without_a_key_every_call_creates(self, desk: Any, mine: Lease) -> None:
        assert not any(create(desk, mine, None).existed for _ in range(3))

    def test_flows_do_not_share_keys(self, desk: Any, mine: Lease) -> None:
        assert create(desk, mine, flow="a").flow_run_id != create(desk, mine, flow="b").flow_run_id

    @pytest.mark.parametrize("kept", [KEPT, None])
    def test_a_run_that_completed_is_not_touched(self, desk: Any, mine: Lease, kept: Any) -> None:
        first = create(desk, mine)
        desk.propose(first.flow_run_id, Completed(data=kept))
        again = create(desk, mine, name="other-name")
        assert (again.flow_run_id, again.existed, again.attempt) == (first.flow_run_id, True, 1)
        assert (again.name, again.verdict.status) == ("adept-capuchin", "REJECT")
        state = again.verdict.state
        assert state is not None
        assert state.type is COMPLETED
        assert state.data == kept if kept else isinstance(state.data, Unkept)
        assert history(desk, first.flow_run_id) == ["Pending", "Running", "Completed"]

    @pytest.mark.parametrize(
        ("ending", "name"), [(Failed, "Retrying"), (Cancelled, "Retrying"), (Crashed, "Resuming"), (Paused, "Running")]
    )
    def test_one_that_ended_otherwise_is_begun_again(self, desk: Any, mine: Lease, ending: Any, name: str) -> None:
        first = create(desk, mine)
        desk.propose(first.flow_run_id, ending())
        again = create(desk, mine)
        assert (again.flow_run_id, again.existed, again.attempt, again.verdict.status) == (first.flow_run_id, True, 2, "ACCEPT")
        assert history(desk, first.flow_run_id)[-1] == name
        assert desk.count("flow_run") == 1

    def test_one_whose_process_is_gone_is_reclaimed_and_resumed(
        self, desk: Any, mine: Lease, another_process: subprocess.Popen[bytes]
    ) -> None:
        first = create(desk, lease_of_process(another_process.pid)).flow_run_id
        other = create(desk, lease_of_process(another_process.pid), "other").flow_run_id
        another_process.kill()
        another_process.wait()
        again = create(desk, mine)
        assert (again.flow_run_id, again.attempt) == (first, 2)
        assert history(desk, first) == ["Pending", "Running", "Crashed", "Resuming"]
        assert history(desk, other) == ["Pending", "Running"]  # it has a lease of its own, which nobody asked for

    def test_one_at_work_is_refused(self, desk: Any, mine: Lease, another_process: subprocess.Popen[bytes]) -> None:
        run = create(desk, lease_of_process(another_process.pid)).flow_run_id
        with pytest.raises(FlowRunIsLive) as caught:
            create(desk, mine)
        for told in (
            "'adept-capuchin'",
            run,
            f"process {another_process.pid} on host {HOST}",
            "tidemill flow-run cancel",
        ):
            assert told in str(caught.value)
        assert desk.count("lease") == 1  # the refused one left nothing

    def test_one_that_waits_for_its_retry_is_at_work(self, desk: Any, mine: Lease) -> None:
        run = NewFlowRun(
            id=ids.new_id(), name="x", flow_name="etl", idempotency_key="key", policy=RunPolicy(retries=3, retry_delay=9)
        )
        orchestration.create_flow_run(desk.store, run, [Pending(), Running()], mine)
        desk.propose(run.id, Failed(), lease_id=mine.id, attempt=1)
        assert history(desk, run.id)[-1] == "AwaitingRetry"
        with pytest.raises(FlowRunIsLive):
            create(desk, lease_of_process(os.getpid()))

    def test_an_outsider_begins_nothing(self, desk: Any, mine: Lease) -> None:
        first = create(desk, mine)
        again = create(desk, None)
        assert (again.flow_run_id, again.existed, again.verdict.status) == (first.flow_run_id, True, "REJECT")
        assert history(desk, first.flow_run_id) == ["Pending", "Running"]


def test_every_attempt_that_somebody_begins_has_all_its_retries(desk: Any, mine: Lease) -> None:
    run = desk.flow_run(lease=mine, policy=RunPolicy(retries=2, retry_delay=[0.0, 60.0]))
    for _ in range(2):
        delays = []
        while (verdict := desk.propose(run, Failed())).status == "REJECT":
            due = verdict.state.state_details.scheduled_time
            delays.append((clock.from_datetime(due) - clock.now()) / 1_000_000)
            with clock.travel(60):
                assert desk.propose(run, Running(), lease_id=mine.id).status == "ACCEPT"
        assert delays == [pytest.approx(0, abs=5), pytest.approx(60, abs=5)]
        orchestration.begin_next_attempt(desk.store, run, mine)
    assert history(desk, run).count("AwaitingRetry") == 4


class TestById:
    def test_a_run_that_does_not_exist_is_told(self, desk: Any, mine: Lease) -> None:
        with pytest.raises(ObjectNotFound):
            orchestration.begin_next_attempt(desk.store, ids.new_id(), mine)
        assert desk.count("lease") == 0

    @pytest.mark.parametrize("state", [Scheduled, Pending, Paused])
    def test_one_that_nobody_holds_can_be_begun(self, desk: Any, mine: Lease, state: Any) -> None:
        run = NewFlowRun(id=ids.new_id(), name="x", flow_name="etl")
        orchestration.create_flow_run(desk.store, run, [state()], None)
        started = orchestration.begin_next_attempt(desk.store, run.id, mine)
        assert (started.verdict.status, started.attempt, started.existed) == ("ACCEPT", 1, True)
        assert reading.flow_run(desk.fetch, run.id).state_type is RUNNING  # type: ignore[union-attr]

    def test_one_being_cancelled_whose_process_is_gone_was_cancelled(self, desk: Any, mine: Lease) -> None:
        run = desk.flow_run()
        desk.propose(run, Cancelling())
        assert orchestration.begin_next_attempt(desk.store, run, mine).attempt == 2
        assert history(desk, run)[-3:] == ["Cancelling", "Cancelled", "Retrying"]

    def test_one_that_runs_without_a_lease_is_nobodys(self, desk: Any, mine: Lease) -> None:
        run = desk.flow_run()
        desk.execute("DELETE FROM lease")
        assert orchestration.begin_next_attempt(desk.store, run, mine).attempt == 2
        assert history(desk, run)[-2:] == ["Crashed", "Resuming"]

    def test_one_that_completed_is_not_begun(self, desk: Any, mine: Lease) -> None:
        run = desk.flow_run()
        desk.propose(run, Completed())
        assert orchestration.begin_next_attempt(desk.store, run, mine).verdict.status == "REJECT"

    def test_its_own_process_cannot_take_it_from_itself(self, desk: Any, mine: Lease) -> None:
        run = create(desk, mine).flow_run_id
        with pytest.raises(FlowRunIsLive):
            orchestration.begin_next_attempt(desk.store, run, mine)
