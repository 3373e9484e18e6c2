"""`get_client()`: the same operations with the same answers, on this process's own database and over HTTP."""

import asyncio
import contextlib

import msgspec
import pytest

from tidemill import flow, get_client, settings, states, task
from tidemill.client import close_sessions, connect
from tidemill.colour import BlockingIO, run_blocking
from tidemill.exceptions import IllegalTransition, ObjectExists, ObjectNotFound, OrchestrationError
from tidemill.filters import (
    Filters,
    FlowFilter,
    FlowRunFilter,
    FlowRunSort,
    IdFilter,
    KeyFilter,
    LogFilter,
    NameFilter,
    Page,
    StateFilter,
    StateTypeFilter,
    VariableFilter,
)
from tidemill.side_records import (
    ArtifactChange,
    ConcurrencyLimitChange,
    NewArtifact,
    NewConcurrencyLimit,
    VariableChange,
)
from tidemill.states import Completed, StateType

MISSING = "00000000-0000-7000-8000-000000000000"


@task(tags=["io"])
def half(n):
    if n == 3:
        raise ValueError("odd")
    return n / 2


@flow(flow_run_name="halves-{n}", version="1")
def halves(n, when="now"):
    return half(n)


@pytest.fixture(params=["local", "http"])
def place(request, served, be_machine):
    """Where the answers come from."""
    if request.param == "http":
        with be_machine(served.url):
            yield request.param
    else:
        yield request.param
        close_sessions()


@pytest.fixture
def client(place):
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def runs():
    halves(2)
    with contextlib.suppress(ValueError):
        halves(3)


def test_somebody_answers(client):
    assert client.hello() == "👋"
    assert client.api_healthcheck() is None
    assert client.api_version()


def test_flows(client, runs):
    (found,) = client.read_flows(flow_filter=FlowFilter(name=NameFilter(any_=["halves"])))
    assert client.read_flow(found.id) == client.read_flow_by_name("halves") == found
    made = client.create_flow_from_name("made")
    assert client.create_flow_from_name("made") == made
    assert [each.name for each in client.read_flows()] == ["halves", "made"]
    client.delete_flow(found.id)
    assert client.read_flow_runs() == []
    with pytest.raises(ObjectNotFound):
        client.read_flow(found.id)
    with pytest.raises(ObjectNotFound):
        client.delete_flow(MISSING)
    with pytest.raises(ObjectNotFound):
        client.read_flow_by_name("halves")


def test_flow_runs(client, runs):
    failed, completed = client.read_flow_runs()
    assert (failed.name, completed.name) == ("halves-3", "halves-2")
    assert plain(client.read_flow_run(completed.id)) == plain(completed)
    assert completed.state.result() == 1.0
    with pytest.raises(ValueError, match="odd"):
        failed.state.result()
    of_failed = FlowRunFilter(state=StateFilter(type=StateTypeFilter(any_=[StateType.FAILED])))
    assert plain(client.read_flow_runs(flow_run_filter=of_failed)) == plain([failed])
    assert client.count_flow_runs(flow_run_filter=of_failed) == 1
    assert client.read_flow_runs(sort=FlowRunSort.NAME_ASC, limit=1, offset=1)[0].id == failed.id
    assert [state.name for state in client.read_flow_run_states(failed.id)] == ["Pending", "Running", "Failed"]
    client.delete_flow_run(failed.id)
    assert plain(client.read_flow_runs()) == plain([completed])
    with pytest.raises(ObjectNotFound):
        client.read_flow_run(failed.id)
    with pytest.raises(ObjectNotFound):
        client.delete_flow_run(failed.id)


def test_a_flow_run_is_created_and_proposed_states(client):
    run = client.create_flow_run("by-hand", parameters={"n": 1}, tags=["a"], idempotency_key="k")
    assert (run.flow_name, run.state_name, run.parameters, run.tags) == ("by-hand", "Pending", {"n": 1}, ["a"])
    assert client.create_flow_run("by-hand", idempotency_key="k").id == run.id
    verdict = client.set_flow_run_state(run.id, states.Running())
    assert (verdict.status, verdict.state.name) == ("ACCEPT", "Running")
    assert client.set_flow_run_state(run.id, Completed(message="done")).status == "ACCEPT"
    assert client.read_flow_run(run.id).state.message == "done"
    assert client.cancel_flow_run(run.id).status == "ABORT"
    with pytest.raises(ObjectNotFound):
        client.set_flow_run_state(MISSING, Completed())
    with pytest.raises(ObjectNotFound):
        client.cancel_flow_run(MISSING)


def test_task_runs_and_logs(client, runs):
    failed, completed = client.read_task_runs()
    assert plain(client.read_task_run(failed.id)) == plain(failed)
    assert client.count_task_runs() == 2
    of_completed = FlowRunFilter(name=NameFilter(any_=["halves-2"]))
    assert plain(client.read_task_runs(flow_run_filter=of_completed)) == plain([completed])
    assert [state.name for state in client.read_task_run_states(completed.id)] == ["Pending", "Running", "Completed"]
    client.set_task_run_state(failed.id, Completed(message="by hand"))
    assert client.read_task_run(failed.id).state.message == "by hand"
    with pytest.raises(IllegalTransition):
        client.set_task_run_state(failed.id, states.Running())
    with pytest.raises(ObjectNotFound):
        client.read_task_run(MISSING)
    lines = client.read_logs(LogFilter(flow_run_id=IdFilter(any_=[completed.flow_run_id])))
    assert lines[-1].message == "Finished in state Completed()"
    assert len(client.read_logs(limit=2)) == 2


def test_variables(client):
    made = client.create_variable("colour", {"red": 1}, ["a"])
    assert client.read_variable_by_name("colour") == made
    with pytest.raises(ObjectExists):
        client.create_variable("colour", 2)
    client.create_variable("size", 3)
    client.update_variable("colour", VariableChange(value=[1, 2]))
    assert client.read_variable_by_name("colour").value == [1, 2]
    assert [each.name for each in client.read_variables()] == ["colour", "size"]
    assert client.read_variables(VariableFilter(name=KeyFilter(any_=["size"])), limit=1)[0].value == 3
    with pytest.raises(ObjectExists):
        client.update_variable("size", VariableChange(name="colour"))
    client.delete_variable_by_name("size")
    assert client.read_variable_by_name("size") is None
    with pytest.raises(ObjectNotFound):
        client.delete_variable_by_name("size")


def test_artifacts(client, runs):
    run = client.read_flow_runs()[0]
    made = client.create_artifact(NewArtifact(key="report", type="markdown", data="# One", flow_run_id=run.id))
    later = client.create_artifact(NewArtifact(key="report", data={"n": 2}))
    assert client.read_artifact(made.id) == made
    assert client.read_latest_artifact("report") == later
    assert client.read_artifacts() == [later, made]
    assert client.read_artifacts(flow_run_filter=FlowRunFilter(id=IdFilter(any_=[run.id]))) == [made]
    client.update_artifact(made.id, ArtifactChange(description="first"))
    assert client.read_artifact(made.id).description == "first"
    client.delete_artifact(later.id)
    with pytest.raises(ObjectNotFound):
        client.read_artifact(later.id)
    with pytest.raises(ObjectNotFound):
        client.create_artifact(NewArtifact(flow_run_id=MISSING))


def test_limits(client):
    made = client.create_global_concurrency_limit(NewConcurrencyLimit(name="db", limit=2))
    assert client.read_global_concurrency_limit_by_name("db").id == made.id
    with pytest.raises(ObjectExists):
        client.create_global_concurrency_limit(NewConcurrencyLimit(name="db", limit=2))
    client.increment_concurrency_slots(["db"], 1)
    leased = client.increment_concurrency_slots(["db"], 1, lease_seconds=300)
    with pytest.raises(OrchestrationError, match="Ask again"):
        client.increment_concurrency_slots(["db"], 1)
    client.release_concurrency_slots(["db"], 1)
    client.release_concurrency_slots_with_lease(leased.lease_id)
    assert client.read_global_concurrency_limit_by_name("db").active_slots == 0
    client.update_global_concurrency_limit("db", ConcurrencyLimitChange(limit=5))
    assert [each.limit for each in client.read_global_concurrency_limits()] == [5]
    client.delete_global_concurrency_limit_by_name("db")
    with pytest.raises(ObjectNotFound):
        client.read_global_concurrency_limit_by_name("db")
    assert client.create_concurrency_limit("io", 3).concurrency_limit == 3
    assert client.read_concurrency_limit_by_tag("io").tag == "io"
    assert [each.tag for each in client.read_concurrency_limits()] == ["io"]
    client.delete_concurrency_limit_by_tag("io")
    with pytest.raises(ObjectNotFound):
        client.read_concurrency_limit_by_tag("io")


def test_the_asynchronous_client_has_the_same_operations(place, runs):
    async def ask():
        async with get_client() as client:
            first, *rest = await asyncio.gather(*(client.read_flow_runs() for _ in range(5)))
            assert all(plain(each) == plain(first) for each in rest)
            assert await client.hello() == "👋"
            return [run.name for run in first]

    assert asyncio.run(ask()) == ["halves-3", "halves-2"]


def test_what_a_client_reads_over_http_is_what_it_reads_in_the_database(served, be_machine):
    """Every reading verb of the engine's own client, to the last field."""
    with be_machine(served.url):
        halves(2)
        with contextlib.suppress(ValueError):
            halves(3)
        there = run_blocking(connect(BlockingIO()).flow_runs())
    task_run, run = run_task_and_flow_run(served, there)
    questions = [
        ("flows",),
        ("count_flows",),
        ("flow_run", run),
        ("flow_run", MISSING),
        ("flow_run_call", run),
        ("flow_runs", Filters(), FlowRunSort.NAME_DESC, Page(1)),
        ("flow_runs", Filters(flow_runs=FlowRunFilter(name=NameFilter(like_="halves")))),
        ("count_flow_runs",),
        ("flow_run_states", run),
        ("find_flow_runs", "halves-2"),
        ("find_flow_runs", run[:8]),
        ("task_runs",),
        ("count_task_runs",),
        ("task_run_states", task_run),
        ("task_run_entries", run),
        ("task_run_entry", task_run),
        ("find_task_runs", task_run),
        ("find_task_runs", task_run, run),
        ("logs",),
        ("logs_after", 2, run),
        ("keyed_run", task_run),
        ("earlier_keyed_runs", task_run),
    ]
    with be_machine(served.url, "reader"):
        over_http = [answer(*question) for question in questions]
    with settings.using(home=served.settings.home):
        in_the_database = [answer(*question) for question in questions]
        close_sessions()
    for question, here, there in zip(questions, over_http, in_the_database, strict=True):
        assert here == there, question


def plain(records):
    return msgspec.to_builtins(records)


def answer(verb, *arguments):
    return msgspec.to_builtins(run_blocking(getattr(connect(BlockingIO()), verb)(*arguments)))


def run_task_and_flow_run(served, runs):
    (task_run,) = served.store.database.fetch("SELECT id FROM task_run WHERE state_type = 'FAILED'")
    return msgspec.to_builtins(task_run[0].hex()), runs[0].id
