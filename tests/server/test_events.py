"""Events over REST: taken, found again by what is asked for, page by page."""

import json

import pytest

from tidemill import clock, orchestration
from tidemill.ids import new_id
from tidemill.records import NewFlowRun
from tidemill.states import Completed, Pending, Running


def event(n=0, name="shop.order.placed", resource="shop.order.1", **more):
    return {
        "id": new_id(),
        "occurred": clock.to_datetime(clock.now() + n * 1_000_000).isoformat(),
        "event": name,
        "resource": {"prefect.resource.id": resource, "shop.size": "large"},
        **more,
    }


def found(served, filter=None, **more):
    return served.post("events/filter", {"filter": filter or {}, **more}, code=200)


def test_what_is_taken_is_found(served):
    sent = [event(n, related=[{"prefect.resource.id": "c.1", "prefect.resource.role": "customer"}]) for n in range(3)]
    assert served.post("events", sent, code=204) is None
    page = found(served)
    assert [each["id"] for each in page["events"]] == [each["id"] for each in reversed(sent)]
    assert (page["total"], page["next_page"]) == (3, None)
    assert page["events"][0]["received"]
    assert page["events"][0]["related"] == sent[0]["related"]
    assert page["events"][0]["payload"] == {}
    served.post("events", sent, code=204)
    assert found(served)["total"] == 3


def test_task_runs_come_of_events_too(served, flow_run, story):
    served.post("events", story("Pending", "Running", "Completed", flow_run_id=flow_run), code=204)
    assert served.store.database.fetch("SELECT state_name FROM task_run") == [("Completed",)]


def test_pages_follow_each_other(served):
    run = NewFlowRun(id=new_id(), name="run", flow_name="my-flow")
    orchestration.create_flow_run(served.store, run, [Pending(), Running(), Completed()], None)
    sent = [event(n) for n in range(-3, 20)]
    served.post("events", sent, code=204)
    for order in ("ASC", "DESC"):
        page = found(served, {"order": order}, limit=5)
        seen = page["events"]
        while page["next_page"]:
            assert page["total"] == 26
            page = served.api.get(page["next_page"]).json()
            seen += page["events"]
        times = [each["occurred"] for each in seen]
        assert times == sorted(times, reverse=order == "DESC")
        assert len({each["id"] for each in seen}) == 26


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"event": {"name": ["a.b"]}}, ["a.b"]),
        ({"event": {"prefix": ["a."], "exclude_name": ["a.b"]}}, ["a.c"]),
        ({"event": {"exclude_prefix": ["a.", "prefect."]}}, ["z"]),
        ({"resource": {"id": ["r.1"]}}, ["a.b"]),
        ({"resource": {"id_prefix": ["r."], "labels": {"shop.size": "large"}}}, ["a.b", "a.c", "z"]),
        ({"resource": {"id_prefix": ["r."], "labels": {"shop.size": ["!lar*"]}}}, []),
        ({"any_resource": {"id": ["r.2"]}}, ["a.b", "a.c"]),
        ({"any_resource": [{"id": ["r.2"]}, {"id": ["r.1"]}]}, ["a.b"]),
        ({"related": {"role": ["friend"]}}, ["a.b"]),
        ({"related": {"resources_in_roles": [["r.2", "friend"]]}}, ["a.b"]),
        ({"related": {"resources_in_roles": [["r.2", "foe"]]}}, []),
        ({"text": {"query": "marmalade"}}, ["z"]),
        ({"text": {"query": "-marmalade -my-flow"}}, ["a.b", "a.c"]),
        ({"event": {"name": ["prefect.flow-run.Pending"]}}, ["prefect.flow-run.Pending"]),
        ({"event": {"prefix": ["prefect.flow-run."]}, "text": {"query": "my-flow"}}, ["prefect.flow-run.Pending"]),
        ({"occurred": {"until": "2020-01-01T00:00:00"}}, []),
        ({"id": {"id": [new_id()]}}, []),
    ],
)
def test_filters(served, flow_run, filter, expected):
    friend = [{"prefect.resource.id": "r.2", "prefect.resource.role": "friend"}]
    sent = [event(-3, "a.b", "r.1", related=friend), event(-2, "a.c", "r.2"), event(-1, "z", "r.3", payload={"x": "Marmalade"})]
    served.post("events", sent, code=204)
    page = found(served, {**filter, "order": "ASC"})
    assert [each["event"] for each in page["events"]] == expected
    assert page["total"] == len(expected)


def test_events_of_one_flow_run(served, flow_run):
    resource = f"prefect.flow-run.{flow_run}"
    served.post("events", [event(resource=resource)], code=204)
    for filter in ({"any_resource": {"id": [resource]}}, {"resource": {"id": [resource]}}):
        assert [each["event"] for each in found(served, {**filter, "order": "ASC"})["events"]] == [
            "prefect.flow-run.Pending",
            "shop.order.placed",
        ]
    assert found(served, limit=0) == {"events": [], "total": 2, "next_page": None}


@pytest.mark.parametrize(
    "body",
    [{}, [{"event": "x"}], [1], [{**event(), "resource": {}}], [{**event(), "occurred": "soon"}], [{**event(), "id": "1"}]],
)
def test_what_is_no_event_is_refused(served, body):
    served.post("events", body, code=422)


def test_task_runs_that_cannot_be_are_refused(served, flow_run, story):
    frames = story("Pending", "Running", flow_run_id=flow_run)
    frames[1]["payload"] = {}
    served.post("events", frames, code=422)
    assert served.store.database.fetch("SELECT count(*) FROM task_run") == [(0,)]


@pytest.mark.parametrize("token", ["", "x", "bm8=", json.dumps({}), "é"])
def test_a_token_of_no_page_is_refused(served, token):
    served.get("events/filter/next", code=422, **{"page-token": token})


def test_pages_have_a_limit(served):
    served.post("events/filter", {"limit": 51}, code=422)
    served.post("events/filter", {"filter": {"odd": 1}}, code=422)
    assert served.post("events/filter", {"limit": None, "filter": None}, code=200)["events"] == []
