"""Flow runs that are to be executed again, or another time, as somebody asks from outside."""

import os
from typing import Any

import pytest

from tidemill import ids, kept_calls, serializers
from tidemill.exceptions import FlowRunIsLive, ObjectNotFound, OrchestrationError
from tidemill.orchestration import begin_next_attempt, processes, retries
from tidemill.records import Lease
from tidemill.states import COMPLETED, Cancelled, Completed, Failed, Pending, ResultReference, Running, State
from tidemill.store import entries, reading

WHERE = "/somewhere/etl.py:etl"


@pytest.fixture
def mine() -> Lease:
    return processes.new_lease(os.getpid(), 3600)


def states(desk: Any, run: str) -> list[str]:
    return [state.name for state in reading.flow_run_states(desk.fetch, run)]


@pytest.mark.parametrize("end", [Failed(), Cancelled()])
def test_a_run_that_has_ended_awaits_its_next_attempt(desk: Any, mine: Lease, end: State[Any]) -> None:
    run = desk.flow_run([Pending(), Running(), end], entrypoint=WHERE)
    for message in ("mended", "asked again"):
        waiting = retries.await_retry(desk.store, run, None, message)
        assert waiting[1:] == (f"tidemill flow-run retry {run}", None)
        assert waiting.flow_run.state is not None
        assert (waiting.flow_run.state.name, waiting.flow_run.state.message) == ("AwaitingRetry", "mended")
    assert begin_next_attempt(desk.store, run, mine).attempt == 2
    assert states(desk, run)[-2:] == ["AwaitingRetry", "Retrying"]


def test_one_that_awaits_its_beginning_goes_on_doing_so(desk: Any) -> None:
    run = desk.flow_run([Pending()], lease=None, entrypoint=WHERE)
    with desk.store.transaction() as execute:
        execute("UPDATE flow_run SET lease_id = NULL", ())
    assert retries.await_retry(desk.store, run, None, None).command is not None
    assert states(desk, run) == ["Pending"]


def test_all_retries_of_the_flow_are_there_again(desk: Any, mine: Lease) -> None:
    run = desk.flow_run(retries=1, entrypoint=WHERE)
    assert desk.propose(run, Failed()).status == "REJECT"
    desk.propose(run, Running())
    desk.propose(run, Failed())
    retries.await_retry(desk.store, run, None, None)
    begin_next_attempt(desk.store, run, mine)
    assert desk.propose(run, Failed()).status == "REJECT"
    desk.propose(run, Running())
    assert desk.propose(run, Failed()).status == "ACCEPT"


def test_a_process_that_is_gone_holds_nothing_and_a_living_one_does(desk: Any, mine: Lease) -> None:
    held = desk.flow_run(lease=mine, entrypoint=WHERE)
    with pytest.raises(FlowRunIsLive, match="flow-run cancel"):
        retries.await_retry(desk.store, held, None, None)
    assert states(desk, held) == ["Pending", "Running"]
    lost = desk.flow_run(entrypoint=WHERE)
    retries.await_retry(desk.store, lost, None, None)
    assert states(desk, lost) == ["Pending", "Running", "Crashed", "AwaitingRetry"]


def test_a_completed_run_from_a_task_run_on(desk: Any) -> None:
    run = desk.flow_run(entrypoint=WHERE)
    entry = desk.entry(run, "load", result=ResultReference("json", b"1"))
    desk.record([desk.advance(entry, COMPLETED)])
    desk.propose(run, Completed(data=ResultReference("json", b"1")))
    with pytest.raises(OrchestrationError, match="from_task_run_id"):
        retries.await_retry(desk.store, run, None, None)
    with pytest.raises(ObjectNotFound, match="no such task run"):
        retries.await_retry(desk.store, run, ids.new_id(), None)
    assert states(desk, run) == ["Pending", "Running", "Completed"]
    waiting = retries.await_retry(desk.store, run, entry.id, None)
    assert waiting.flow_run.state is not None
    assert waiting.flow_run.state.message == "To be executed again, from task run 'step-load' on."
    [found] = entries.task_run_entries(desk.fetch, run)
    assert (found.progress.name, found.result) == ("AwaitingRerun", None)


def test_a_run_like_another(desk: Any) -> None:
    run = desk.flow_run(
        entrypoint=WHERE, parameters=b'{"day":"monday","n":1}', tags=["a"], labels=b'{"team":"x"}', flow_version="7", retries=2
    )
    other, command, _ = retries.create_rerun(desk.store, run, {"n": True}, None, None)
    assert command == f"tidemill flow-run resume {other.id}"
    assert (other.flow_name, other.entrypoint, other.flow_version) == ("etl", WHERE, "7")
    assert (other.parameters, other.tags, other.labels) == ({"day": "monday", "n": True}, ["a"], {"team": "x"})
    assert (other.empirical_policy.retries, other.run_count) == (2, 0)
    assert states(desk, other.id) == ["Scheduled"]
    assert other.state is not None
    assert run in (other.state.message or "")
    assert reading.flow_run_call(desk.fetch, other.id) is None


def test_a_call_that_json_cannot_say_is_kept_with_what_is_changed_in_it(desk: Any) -> None:
    call = serializers.dump({"s": {1, 2}, "n": 1})
    run = desk.flow_run(entrypoint=WHERE, parameters=b'{"s":"{1, 2}","n":1}', call=call)
    same = retries.create_rerun(desk.store, run, {"s": "{1, 2}", "n": 1}, None, None).flow_run
    assert reading.flow_run_call(desk.fetch, same.id) == call
    changed = retries.create_rerun(desk.store, run, {"n": 2}, None, None).flow_run
    again = retries.create_rerun(desk.store, changed.id, {"m": 3}, None, None).flow_run
    kept = reading.flow_run_call(desk.fetch, again.id)
    assert kept is not None
    assert kept_calls.as_called(kept) == (call, {"n": 2, "m": 3})
    assert again.parameters == {"s": "{1, 2}", "n": 2, "m": 3}


def test_a_call_that_could_not_be_kept_is_not_repeated(desk: Any) -> None:
    run = desk.flow_run([Pending(), Failed()], entrypoint=WHERE, call=kept_calls.unkept("a lock cannot be pickled"))
    with pytest.raises(OrchestrationError, match="a lock cannot be pickled"):
        retries.create_rerun(desk.store, run, None, None, None)
    _, command, reason = retries.await_retry(desk.store, run, None, None)
    assert command is None
    assert "a lock cannot be pickled" in (reason or "")


@pytest.mark.parametrize(
    ("entrypoint", "told"),
    [
        (None, "was not recorded"),
        ("/tmp/ipykernel_7/1.py:etl", "in a notebook"),
        ("__main__:etl", "typed in"),
        (f"{WHERE}.<locals>.inner", "inside a function"),
    ],
)
def test_where_no_command_finds_the_flow_it_is_told_why(desk: Any, entrypoint: str | None, told: str) -> None:
    run = desk.flow_run([Pending(), Failed()], entrypoint=entrypoint)
    for waiting in (
        retries.await_retry(desk.store, run, None, None),
        retries.create_rerun(desk.store, run, None, None, None),
    ):
        assert waiting.command is None
        assert told in (waiting.reason or "")


def test_a_run_that_is_not_there(desk: Any) -> None:
    with pytest.raises(ObjectNotFound):
        retries.await_retry(desk.store, ids.new_id(), None, None)
    with pytest.raises(ObjectNotFound):
        retries.create_rerun(desk.store, ids.new_id(), None, None, None)
