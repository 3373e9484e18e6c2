"""`GET /api/events/stream`: server-sent events over real HTTP."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tidemill import ids, orchestration
from tidemill.records import Batch, NewFlowRun
from tidemill.server.routes import stream as stream_module
from tidemill.states import Completed, Pending


class Events:
    """The events of an answer, one by one, as the rules for server-sent events say to read them."""

    def __init__(self, response: Any) -> None:
        self.headers = response.headers
        self.lines = response.iter_lines()
        self.retry: str | None = None
        self.heartbeats = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        fields: dict[str, str] = {}
        for line in self.lines:
            name, _, value = line.partition(": ")
            if not line:
                if "data" in fields:
                    yield {**fields, "data": json.loads(fields["data"])}
                fields = {}
            elif not name:
                self.heartbeats += 1
            elif name == "retry":
                self.retry = value
            else:
                fields[name] = value

    def take(self, count: int, *, positions: bool = False) -> list[dict[str, Any]]:
        """The next events; those that only tell a position are left out."""
        found: list[dict[str, Any]] = []
        for event in self:
            if positions or event["event"] != "position":
                found.append(event)
            if len(found) == count:
                break
        return found


@pytest.fixture
def listen(served):
    """Opens a stream, at which it is then already listening."""
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(httpx2.Client(base_url=f"{served.url}/api", timeout=60))

        def start(after: str | None = None, **params: Any) -> Events:
            headers = {"Last-Event-ID": after} if after is not None else {}
            response = stack.enter_context(client.stream("GET", "events/stream", params=params, headers=headers))
            assert response.status_code == 200, response.read()
            return Events(response)

        yield start


def flow_run(served: Any) -> str:
    run = NewFlowRun(id=ids.new_id(), name="adept-capuchin", flow_name="etl")
    orchestration.create_flow_run(served.store, run, [Pending()], None)
    return run.id


def log(served: Any, run: str, *messages: str) -> None:
    served.store.record(Batch([], [(run, None, 20, 1, "x", message) for message in messages]))


def test_events_arrive_as_they_happen(served, listen):
    events = listen()
    run = flow_run(served)
    log(served, run, "said", 'with a line\nbreak and "quotes"')
    first, *lines = events.take(3)
    assert (first["event"], first["data"]["id"], first["data"]["state"]["type"]) == ("flow-run", run, "PENDING")
    assert [line["event"] for line in lines] == ["log", "log"]
    assert [line["data"]["message"] for line in lines] == ["said", 'with a line\nbreak and "quotes"']
    assert lines[0]["data"]["flow_run_id"] == run
    assert events.retry == "1000"


def test_nobody_on_the_way_keeps_or_changes_it(listen):
    headers = listen().headers
    assert headers["content-type"].startswith("text/event-stream")
    assert "no-store" in headers["cache-control"]
    assert headers["x-accel-buffering"] == "no"
    assert "content-length" not in headers
    assert "content-encoding" not in headers


def test_who_comes_back_misses_nothing(served, listen):
    run = flow_run(served)
    events = listen()
    (position,) = events.take(1, positions=True)
    assert (position["event"], position["data"]) == ("position", {})
    log(served, run, "one", "two")
    assert [event["data"]["message"] for event in listen(position["id"]).take(2)] == ["one", "two"]
    one, _ = events.take(2)
    assert [event["data"]["message"] for event in listen(one["id"]).take(1)] == ["two"]
    assert [event["data"]["message"] for event in listen(last_event_id=one["id"]).take(1)] == ["two"]
    assert [event["data"]["message"] for event in listen(position["id"], last_event_id=one["id"]).take(1)] == ["one"]


def test_events_have_the_same_ids_after_the_server_was_started_anew(serve):
    served = serve()
    run = flow_run(served)
    log(served, run, "one", "two", "three")

    def read() -> list[tuple[str, str, str]]:
        with httpx2.stream("GET", f"{served.url}/api/events/stream", params={"last_event_id": "0"}) as response:
            return [(event["event"], event["id"], event["data"]["id"]) for event in Events(response).take(4)]

    before = read()
    served.close()
    served = serve()
    assert read() == before


def test_who_cannot_go_on_is_told_to_begin_anew(served, listen):
    run = flow_run(served)
    events = listen("no-such-event")
    (reset,) = events.take(1)
    assert (reset["event"], reset["data"]) == ("reset", {})
    log(served, run, "after it")
    assert [event["data"]["message"] for event in events.take(1)] == ["after it"]


def test_only_what_was_asked_for_is_told(served, listen):
    run, other, third = flow_run(served), flow_run(served), flow_run(served)
    of_two = listen(flow_run_id=[run, third.upper().replace("-", "")], kinds="log,flow-run")
    of_logs = listen(kinds=["log", "task-run"])
    for each in (other, run, third):
        log(served, each, each)
    assert [event["data"]["message"] for event in of_two.take(2)] == [run, third]
    assert [event["data"]["message"] for event in of_logs.take(3)] == [other, run, third]
    orchestration.propose_flow_run_state(served.store, run, Completed())
    orchestration.delete_flow_run(served.store, third)
    last = of_two.take(2)
    assert [(event["event"], event["data"].get("state_name")) for event in last] == [
        ("flow-run", "Completed"),
        ("deleted", None),
    ]
    assert last[1]["data"] == {"flow_run_id": third}


def test_subflow_runs_come_with_their_parent_if_asked_for(served, listen):
    parent = flow_run(served)
    child = NewFlowRun(id=ids.new_id(), name="child", flow_name="etl", parent_flow_run_id=parent)
    orchestration.create_flow_run(served.store, child, [Pending()], None)
    with_children, alone = listen(flow_run_id=parent, include_subflows=True), listen(flow_run_id=parent)
    log(served, child.id, "child")
    log(served, parent, "parent")
    assert [event["data"]["message"] for event in with_children.take(2)] == ["child", "parent"]
    assert [event["data"]["message"] for event in alone.take(1)] == ["parent"]


@pytest.mark.parametrize("params", [{"kinds": "flows"}, {"kinds": ""}, {"flow_run_id": "x"}, {"include_subflows": "perhaps"}])
def test_what_makes_no_sense_is_refused(served, params):
    served.get("events/stream", code=422, **params)


def test_a_connection_on_which_nothing_happens_is_kept_alive(served, listen, monkeypatch):
    monkeypatch.setattr(stream_module, "_HEARTBEAT_SECONDS", 0.05)
    mine, other = flow_run(served), flow_run(served)
    events = listen(flow_run_id=mine)
    (start,) = events.take(1, positions=True)
    log(served, other, "not for me")
    (further,) = events.take(1, positions=True)
    assert further["event"] == "position"
    assert int(further["id"]) > int(start["id"])
    log(served, mine, "for me")
    assert [event["data"]["message"] for event in events.take(1)] == ["for me"]
    for line in events.lines:
        if line.startswith(": "):
            break


def test_who_has_gone_is_forgotten(served, wait_until):
    with httpx2.stream("GET", f"{served.url}/api/events/stream") as response:
        events = Events(response)  # kept, since the connection goes with it
        events.take(1, positions=True)
        assert served.services.live.listeners == 1
    wait_until(lambda: served.services.live.listeners == 0)
