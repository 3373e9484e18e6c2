"""`/events/out` and `/logs/out`: clients are told what they ask for, what happened lately first, and nothing twice."""

import json
import logging

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed

from tidemill import clock, orchestration
from tidemill.ids import new_id
from tidemill.records import Batch, Log, NewFlowRun
from tidemill.server.sockets.logs_out import Asked, is_wanted
from tidemill.states import Cancelling, Completed, Pending, Running

CANCELLING = {"event": {"name": ["prefect.flow-run.Cancelling"]}}


def ask(socket, filter, **more):
    socket.send(json.dumps({"type": "filter", "filter": filter, **more}))


def told(socket):
    frame = json.loads(socket.recv(timeout=60))
    assert frame["type"] == "event"
    return frame["event"]


def propose(served, flow_run, *states):
    for state in states:
        orchestration.propose_flow_run_state(served.store, flow_run, state)


def event(name="shop.order.placed", resource="shop.order.1", **more):
    labels = {"prefect.resource.id": resource}
    return {"id": new_id(), "occurred": clock.to_datetime(clock.now()).isoformat(), "event": name, "resource": labels, **more}


def listening(served, wait_until, n=1):
    wait_until(lambda: served.services.live.listeners == n)


def test_a_client_sees_that_a_run_is_to_be_cancelled(served, flow_run, speaking, wait_until):
    propose(served, flow_run, Running())
    with speaking(served, "events/out") as socket:
        ask(socket, CANCELLING)
        listening(served, wait_until)
        propose(served, flow_run, Cancelling(message="enough"))
        found = told(socket)

    assert found["event"] == "prefect.flow-run.Cancelling"
    assert found["resource"].pop("prefect.state-timestamp") == found["occurred"].replace("Z", "+00:00")
    assert found["resource"] == {
        "prefect.resource.id": f"prefect.flow-run.{flow_run}",
        "prefect.resource.name": "brisk-otter",
        "prefect.run-count": "1",
        "prefect.state-message": "enough",
        "prefect.state-name": "Cancelling",
        "prefect.state-type": "CANCELLING",
    }
    assert [(each["prefect.resource.role"], each.get("prefect.resource.name")) for each in found["related"]] == [
        ("flow", "my-flow"),
        ("tag", None),
    ]
    assert found["payload"]["intended"] == {"from": "RUNNING", "to": "CANCELLING"}
    assert found["payload"]["validated_state"] == {"type": "CANCELLING", "name": "Cancelling", "message": "enough"}


def test_what_happened_lately_comes_first_and_nothing_twice(served, flow_run, speaking, wait_until):
    propose(served, flow_run, Running())
    with speaking(served, "events/in") as telling:
        telling.send(json.dumps(event("shop.opened")))
    with speaking(served, "events/out") as socket:
        ask(socket, {})
        assert [told(socket)["event"] for _ in range(3)] == [
            "prefect.flow-run.Pending",
            "prefect.flow-run.Running",
            "shop.opened",
        ]
        listening(served, wait_until)
        propose(served, flow_run, Completed())
        assert told(socket)["event"] == "prefect.flow-run.Completed"


def test_who_wants_no_backfill_gets_none(served, flow_run, speaking, wait_until):
    propose(served, flow_run, Running())
    with speaking(served, "events/out") as socket:
        ask(socket, {}, backfill=False)
        listening(served, wait_until)
        propose(served, flow_run, Completed())
        assert told(socket)["event"] == "prefect.flow-run.Completed"


def test_a_backfill_reaches_back_for_a_quarter_of_an_hour(served, flow_run, speaking):
    with clock.travel(seconds=16 * 60):
        other = NewFlowRun(id=new_id(), name="other", flow_name="my-flow")
        orchestration.create_flow_run(served.store, other, [Pending()], None)
        with speaking(served, "events/out") as socket:
            ask(socket, {"occurred": {"since": "2020-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}})
            assert told(socket)["resource"]["prefect.resource.name"] == "other"


def test_a_backfill_of_many_pages_is_whole(served, speaking):
    for n in range(600):
        orchestration.create_flow_run(
            served.store, NewFlowRun(id=new_id(), name=f"run-{n}", flow_name="my-flow"), [Pending()], None
        )
    with speaking(served, "events/out") as socket:
        ask(socket, {})
        assert [told(socket)["resource"]["prefect.resource.name"] for _ in range(600)] == [f"run-{n}" for n in range(600)]


def test_events_of_others_are_told_as_they_come(served, speaking, wait_until):
    with speaking(served, "events/out") as socket, speaking(served, "events/in") as telling:
        ask(socket, {"event": {"prefix": ["shop."]}, "related": {"role": ["customer"], "id": ["c.2"]}})
        listening(served, wait_until)
        customers = [{"prefect.resource.id": f"c.{n}", "prefect.resource.role": "customer"} for n in range(4)]
        sent = [event(related=[customer]) for customer in customers]
        for each in [event(), event("other.thing"), *sent]:
            telling.send(json.dumps(each))
        found = told(socket)
    assert (found["id"], found["resource"], found["related"]) == (sent[2]["id"], sent[2]["resource"], sent[2]["related"])
    assert found["received"]


def test_many_changes_at_once_are_each_told(served, speaking, wait_until):
    runs = [NewFlowRun(id=new_id(), name=f"run-{n}", flow_name="my-flow") for n in range(50)]
    with speaking(served, "events/out") as one, speaking(served, "events/out") as another:
        for socket in (one, another):
            ask(socket, {}, backfill=False)
        wait_until(lambda: served.services.event_stream.listeners == 2)
        for run in runs:
            orchestration.create_flow_run(served.store, run, [Pending(), Running(), Completed()], None)
        for socket in (one, another):
            seen = [told(socket) for _ in range(150)]
            assert len({found["id"] for found in seen}) == 150
            assert sorted(found["event"] for found in seen[:3]) == [
                "prefect.flow-run.Completed",
                "prefect.flow-run.Pending",
                "prefect.flow-run.Running",
            ]
    listening(served, wait_until, 0)


@pytest.mark.parametrize("path", ["events/out", "logs/out"])
@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ('{"type": "hello"}', "Invalid filter"),
        ("nonsense", "Expected 'filter' message"),
        ('{"type": "filter", "filter": {"odd": 1}}', "Invalid filter"),
        ('{"type": "filter"}', "Invalid filter"),
    ],
)
def test_who_asks_for_nothing_that_can_be_is_sent_away(served, speaking, path, frame, reason):
    with speaking(served, path) as socket:
        socket.send(frame)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=60)
    assert closed.value.rcvd.code == 1002
    assert closed.value.rcvd.reason.startswith(reason)


def test_lines_are_told_as_they_are_logged(served, flow_run, speaking, wait_until):
    lines = [(flow_run, None, level, clock.now(), "prefect.flow_runs", f"line {level}") for level in (10, 20, 40)]
    with speaking(served, "logs/out") as socket:
        ask(socket, {"flow_run_id": {"any_": [flow_run]}, "level": {"ge_": 20}})
        listening(served, wait_until)
        served.store.record(Batch([], [(None, None, 40, clock.now(), "elsewhere", "not this"), *lines]))
        frames = [json.loads(socket.recv(timeout=60)) for _ in range(2)]
    assert [frame["type"] for frame in frames] == ["log", "log"]
    assert [(frame["log"]["message"], frame["log"]["level"]) for frame in frames] == [("line 20", 20), ("line 40", 40)]
    assert {frame["log"]["flow_run_id"] for frame in frames} == {flow_run}


RUN = "0198c1de-0000-7000-8000-000000000001"
LINE = Log(
    id=new_id(),
    name="prefect.flow_runs",
    level=logging.INFO,
    message="The answer is 42",
    timestamp=clock.to_datetime(1_000_000_000),
    flow_run_id=RUN,
)


@pytest.mark.parametrize(
    ("filter", "wanted"),
    [
        ({}, True),
        ({"level": {"ge_": 20, "le_": 20}}, True),
        ({"level": {"ge_": 30}}, False),
        ({"flow_run_id": {"any_": [RUN.upper().replace("-", "")]}}, True),
        ({"flow_run_id": {"any_": []}}, False),
        ({"flow_run_id": {"not_any_": [RUN]}}, False),
        ({"task_run_id": {"is_null_": True}}, True),
        ({"task_run_id": {"is_null_": False}}, False),
        ({"timestamp": {"after_": "1970-01-01T00:16:40Z", "before_": "1970-01-01T00:16:40"}}, True),
        ({"timestamp": {"after_": "1970-01-01T00:16:41"}}, False),
        ({"text": {"query": "ANSWER -43"}}, True),
        ({"text": {"query": '"answer is" +42'}}, True),
        ({"text": {"query": "answer -42"}}, False),
        ({"text": {"query": "question"}}, False),
        ({"operator": "or_", "level": {"ge_": 30}, "text": {"query": "answer"}}, True),
        ({"operator": "or_", "level": {"ge_": 30}, "text": {"query": "question"}}, False),
        ({"operator": "or_"}, True),
    ],
)
def test_which_lines_are_wanted(filter, wanted):
    asked = msgspec.json.decode(json.dumps({"type": "filter", "filter": filter}), type=Asked)
    assert is_wanted(asked.filter, LINE) is wanted
