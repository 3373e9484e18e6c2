"""`/events/in`: what clients tell through their websockets is in the store soon, whoever tells it and however badly."""

import json
import threading

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tidemill import orchestration
from tidemill.filters import Filters, IdFilter, TaskRunFilter
from tidemill.ids import new_id
from tidemill.records import NewFlowRun
from tidemill.states import Pending, StateType
from tidemill.store import reading


def tell(socket, frames):
    for frame in frames:
        socket.send(frame if isinstance(frame, str) else json.dumps(frame))


def task_runs(served, flow_run_id):
    wanted = Filters(task_runs=TaskRunFilter(flow_run_id=IdFilter(any_=[flow_run_id])))
    return reading.task_runs(served.store.database.fetch, wanted)


def kept_events(served):
    return served.store.database.fetch("SELECT name, resource_id, document FROM event ORDER BY seq")


def test_task_runs_come_of_what_is_told(served, flow_run, story, wait_until, speaking):
    with speaking(served, "events/in") as socket:
        tell(socket, story("Pending", "Running", "AwaitingRetry", "Retrying", "Completed", flow_run_id=flow_run, retries=1))
    wait_until(lambda: task_runs(served, flow_run))
    [run] = task_runs(served, flow_run)

    assert (run.state_type, run.run_count, run.name, run.task_key) == (StateType.COMPLETED, 2, "add-1", "add-e09864e0")
    states = reading.task_run_states(served.store.database.fetch, run.id)
    assert [state.name for state in states] == ["Pending", "Running", "AwaitingRetry", "Retrying", "Completed"]


def test_it_is_written_while_the_connection_is_open(served, flow_run, story, wait_until, speaking):
    with speaking(served, "events/in") as socket:
        pending, running = story("Pending", "Running", flow_run_id=flow_run)
        tell(socket, [pending])
        wait_until(lambda: [run.state_name for run in task_runs(served, flow_run)] == ["Pending"])
        tell(socket, [running])
        wait_until(lambda: [run.state_name for run in task_runs(served, flow_run)] == ["Running"])


def test_many_clients_tell_of_many_runs(served, flow_run, story, wait_until, speaking):
    def client():
        with speaking(served, "events/in") as socket:
            for _ in range(100):
                tell(socket, story("Pending", "Running", "Completed", flow_run_id=flow_run))

    clients = [threading.Thread(target=client) for _ in range(4)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    fetch = served.store.database.fetch
    wait_until(lambda: fetch("SELECT count(*) FROM task_run WHERE state_name = 'Completed'") == [(400,)])


def test_what_cannot_be_read_ends_nothing(served, flow_run, story, wait_until, caplog, speaking):
    good = story("Pending", "Running", "Completed", flow_run_id=flow_run)
    bad = story("Running", flow_run_id=flow_run)
    bad[0]["payload"] = {}
    with speaking(served, "events/in") as socket:
        tell(socket, ["nonsense", "{}", *good[:2], *bad, good[2]])
    wait_until(lambda: [run.state_name for run in task_runs(served, flow_run)] == ["Completed"])
    wait_until(lambda: "3 events of a client could not be read" in caplog.text)
    assert caplog.text.count("cannot be read, and is left out") == 1


def test_runs_of_a_flow_run_that_is_gone_are_left_out(served, flow_run, story, wait_until, speaking):
    with speaking(served, "events/in") as socket:
        tell(socket, story("Pending", "Running"))
        tell(socket, story("Pending", flow_run_id=flow_run))
    wait_until(lambda: task_runs(served, flow_run))
    assert served.store.database.fetch("SELECT count(*) FROM task_run") == [(1,)]


def test_a_run_that_cannot_be_kept_does_not_take_others_with_it(served, flow_run, story, wait_until, caplog, speaking):
    """Two task runs cannot be the same call of one flow run."""
    first, second, third = (story("Pending", flow_run_id=flow_run) for _ in range(3))
    second[0]["payload"]["task_run"]["dynamic_key"] = first[0]["payload"]["task_run"]["dynamic_key"]
    with speaking(served, "events/in") as socket:
        tell(socket, first + second + third)
    wait_until(lambda: "cannot be kept" in caplog.text)
    wait_until(lambda: len(task_runs(served, flow_run)) == 2)


def test_other_events_are_kept_once(served, wait_until, speaking):
    event = {
        "id": new_id(),
        "occurred": "2026-11-22T07:28:28.399707Z",
        "event": "shop.order.placed",
        "resource": {"prefect.resource.id": "shop.order.1"},
        "related": [{"prefect.resource.id": "shop.customer.2", "prefect.resource.role": "customer"}],
        "payload": {"items": [1, 2]},
    }
    with speaking(served, "events/in") as socket:
        tell(socket, [event, event])
    with speaking(served, "events/in") as socket:
        tell(socket, [event, {**event, "id": new_id(), "event": "shop.order.paid"}])
    wait_until(lambda: len(kept_events(served)) == 2)
    [(name, resource, document), (second, *_)] = kept_events(served)
    assert (name, resource, second) == ("shop.order.placed", "shop.order.1", "shop.order.paid")
    kept = json.loads(document)
    assert kept["payload"] == {"items": [1, 2]}
    assert kept["related"] == event["related"]
    assert kept["received"]


def test_an_event_that_is_too_large_is_left_out(serve, speaking, wait_until, caplog):
    served = serve(server_max_event=100)
    with speaking(served, "events/in") as socket:
        for size in (200, 20):
            event = {"id": new_id(), "occurred": "2026-11-22T07:28:28Z", "event": f"size-{size}"}
            tell(socket, [{**event, "resource": {"prefect.resource.id": "x"}, "payload": {"text": "x" * size}}])
    wait_until(lambda: kept_events(served))
    assert [name for name, *_ in kept_events(served)] == ["size-20"]
    assert "'size-200'" in caplog.text
    assert "TIDEMILL_SERVER_MAX_EVENT" in caplog.text


def test_nothing_that_was_told_is_lost_when_the_server_stops(serve, story, wait_until, speaking):
    served = serve()
    run = NewFlowRun(id=new_id(), name="brisk-otter", flow_name="my-flow")
    orchestration.create_flow_run(served.store, run, [Pending()], None)
    with speaking(served, "events/in") as socket:
        tell(socket, story("Pending", "Running", "Completed", flow_run_id=run.id) * 100)
        socket.ping().wait(30)  # the server has read everything up to here
        served.stop()
    again = serve()
    assert [found.state_name for found in task_runs(again, run.id)] == ["Completed"]


def test_a_client_that_speaks_no_subprotocol_needs_not_say_who_it_is(served, flow_run, story, wait_until):
    with connect(f"{served.url.replace('http', 'ws')}/api/events/in") as socket:
        tell(socket, story("Pending", flow_run_id=flow_run))
    wait_until(lambda: task_runs(served, flow_run))


@pytest.mark.parametrize("first", ['{"type": "hello"}', "nonsense", '{"type": "auth", "token": 1}'])
def test_who_does_not_say_who_it_is_is_sent_away(served, first):
    with connect(f"{served.url.replace('http', 'ws')}/api/events/in", subprotocols=["prefect"]) as socket:
        socket.send(first)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=30)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "Expected 'auth' message")
