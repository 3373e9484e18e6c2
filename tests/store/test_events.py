"""Events, what flow runs' states make of them, and task runs that others tell of: on any kind of database."""

import msgspec
import pytest

from tidemill import clock, ids, orchestration
from tidemill.event_filters import (
    RESOURCE_ID,
    Event,
    EventAnyResourceFilter,
    EventFilter,
    EventNameFilter,
    EventOrder,
    EventResourceFilter,
    OccurredFilter,
)
from tidemill.orchestration.observed import Observation, record_observed
from tidemill.states import FOREIGN, Completed, Pending, ResultReference, Running, StateDetails
from tidemill.store import entries, event_history, events, state_events

BEGAN = 1_714_564_800_000_000
ASCENDING = EventFilter(order=EventOrder.ASC)


def event(n=0, name="shop.open", resource="shop.1", **more):
    return Event(id=ids.new_id(), occurred=clock.to_datetime(BEGAN + n), event=name, resource={RESOURCE_ID: resource}, **more)


def kept(desk, *them):
    with desk.store.transaction() as execute:
        events.insert(execute, them, BEGAN + 5)
    return [each.id for each in them]


def told(flow_run_id=None, run_id=None, state="PENDING", n=0, **more):
    fields = {
        "id": run_id or ids.new_id(),
        "flow_run_id": flow_run_id,
        "name": "add-1",
        "task_key": "add",
        "dynamic_key": ids.new_id(),
        "step": (state, None, None, BEGAN + n),
        "run_count": 0 if state == "PENDING" else 1,
        "attempt": 1,
        "created": BEGAN,
        "start_time": None,
        "end_time": None,
        "total_run_time": 0,
    }
    return Observation(**{**fields, **more})


def observe(desk, *observations):
    with desk.store.transaction() as execute:
        return record_observed(execute, observations)


def test_an_event_is_kept_once_and_whole(desk):
    sent = event(payload=msgspec.Raw(b'{"a":[1]}'), related=[{RESOURCE_ID: "x", "prefect.resource.role": "y"}])
    kept(desk, sent, sent)
    kept(desk, sent)
    [found], _ = events.after(desk.fetch, 0, 10)
    assert msgspec.json.encode(found) == msgspec.json.encode(sent)
    assert found.received == clock.to_datetime(BEGAN + 5)


def test_events_are_followed_in_the_order_in_which_they_came(desk):
    assert events.latest(desk.fetch) == 0
    sent = [kept(desk, event(-n))[0] for n in range(5)]
    found, place = events.after(desk.fetch, 0, 3)
    more, end = events.after(desk.fetch, place, 3)
    assert [each.id for each in found + more] == sent
    assert events.after(desk.fetch, end, 3) == ([], end)
    assert events.latest(desk.fetch) == end


def test_history_is_told_by_time_in_pages(desk):
    run = desk.flow_run([Pending(), Running(), Completed()])
    kept(desk, *[event(n) for n in range(700)])
    for order in EventOrder:
        seen, start = [], None
        while True:
            page, start = event_history.page(desk.fetch, EventFilter(order=order), 100, start)
            seen += page
            if start is None:
                break
        assert len({each.id for each in seen}) == len(seen) == 703
        times = [each.occurred for each in seen]
        assert times == sorted(times, reverse=order is EventOrder.DESC)
    assert event_history.count(desk.fetch, EventFilter()) == 703
    assert [each.resource[RESOURCE_ID] for each in seen if each.event.startswith("prefect.")] == [f"prefect.flow-run.{run}"] * 3


def test_what_happened_at_the_same_time_is_told_once_each(desk):
    sent = kept(desk, *[event(resource=f"shop.{n}") for n in range(30)])
    seen, start = [], None
    while True:
        page, start = event_history.page(desk.fetch, ASCENDING, 7, start)
        seen += [each.id for each in page]
        if start is None:
            break
    assert seen == sorted(sent)


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (EventFilter(event=EventNameFilter(name=["a.x", "prefect.flow-run.Running"])), ["a.x", "prefect.flow-run.Running"]),
        (EventFilter(event=EventNameFilter(prefix=["a."], exclude_name=["a.x"])), ["a.y"]),
        (EventFilter(event=EventNameFilter(exclude_prefix=["a.", "prefect.flow-run.P"])), ["prefect.flow-run.Running"]),
        (EventFilter(resource=EventResourceFilter(id=["r"])), ["a.x"]),
        (EventFilter(any_resource=EventAnyResourceFilter(id=["r", "prefect.flow-run.x"])), ["a.x"]),
        (EventFilter(occurred=OccurredFilter(until=clock.to_datetime(BEGAN + 1))), ["a.x"]),
    ],
)
def test_filters(desk, filter, expected):
    desk.flow_run()
    kept(desk, event(1, "a.x", "r"), event(2, "a.y", "s"))
    page, _ = event_history.page(desk.fetch, msgspec.structs.replace(filter, order=EventOrder.ASC), 50)
    assert [each.event for each in page] == expected
    assert event_history.count(desk.fetch, filter) == len(expected)


def test_states_of_flow_runs_are_events(desk):
    run = desk.flow_run([Pending(), Running(message="go")], tags=["b", "a"])
    pending, running = state_events.of_runs(desk.fetch, [run], 0)
    states = desk.rows("flow_run_state", "id, seq", "seq")
    assert [ids.to_bytes(each.id) for each in (pending, running)] == [row[0] for row in states]
    assert (pending.follows, running.follows) == (None, pending.id)
    assert running.event == "prefect.flow-run.Running"
    assert running.resource["prefect.state-message"] == "go"
    assert [each[RESOURCE_ID] for each in running.related[1:]] == ["prefect.tag.a", "prefect.tag.b"]
    assert msgspec.json.decode(running.payload)["intended"] == {"from": "PENDING", "to": "RUNNING"}
    assert [each.id for each in state_events.of_runs(desk.fetch, [run], clock.now() + 1)] == [running.id]
    assert state_events.ids_since(desk.fetch, clock.now() + 1) == []
    assert set(state_events.ids_since(desk.fetch, 0)) == {pending.id, running.id}
    assert list(state_events.runs_since(desk.fetch, 0)) == [run]


def test_events_by_time_need_no_search(desk):
    plan = desk.plan("SELECT id FROM flow_run_state WHERE timestamp >= ? ORDER BY timestamp LIMIT 10", 0)
    assert "flow_run_state_by_time" in plan


def test_task_runs_that_others_tell_of(desk):
    flow_run = desk.flow_run([Pending()])
    data = ResultReference(FOREIGN, b'{"storage_key":"x"}')
    first = told(flow_run, details=StateDetails(cache_key="k"), labels='{"a":"b"}', tags='["t"]')
    same = {"run_id": first.id, "dynamic_key": first.dynamic_key}
    last = told(flow_run, state="COMPLETED", n=20, end_time=BEGAN + 20, result=data, **same)
    middle = told(flow_run, state="RUNNING", n=10, start_time=BEGAN + 10, **same)
    other = told()
    assert observe(desk, last, other) == []
    assert observe(desk, first, middle, last) == []

    found = entries.task_run_entries_by_id(desk.fetch, [first.id, other.id, ids.new_id()])
    assert set(found) == {first.id, other.id}
    progress = found[first.id].progress
    assert [step[0] for step in progress.history] == ["PENDING", "RUNNING", "COMPLETED"]
    assert (progress.run_count, progress.start_time, progress.end_time) == (1, BEGAN + 10, BEGAN + 20)
    assert found[first.id].result == data
    assert desk.rows("task_run", "labels", "labels NULLS LAST") == [('{"a":"b"}',), (None,)]


def test_what_is_told_of_a_flow_run_that_is_gone_is_given_back(desk):
    there, gone = desk.flow_run([Pending()]), desk.flow_run([Pending()])
    orchestration.delete_flow_run(desk.store, gone)
    lost = told(gone)
    assert observe(desk, told(there), lost) == [lost]
    assert desk.count("task_run") == 1


def test_what_is_told_is_noted_as_a_change(desk):
    before = desk.count("change")
    observe(desk, told(), told())
    assert desk.count("change") == before + 1
