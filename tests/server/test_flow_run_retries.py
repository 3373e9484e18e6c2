"""Another attempt, and another run like it, over the API."""

import os
from typing import Any

import pytest

from tidemill import orchestration
from tidemill.ids import new_id
from tidemill.orchestration import processes
from tidemill.records import NewFlowRun
from tidemill.server.security import Role, role_needed
from tidemill.states import Failed, Pending, Running, State

UNKNOWN = "01a20228-08a1-71b7-83e3-616c46d61474"


def make(served: Any, *states: State[Any], held: bool = False, **more: Any) -> str:
    """A flow run in the server's database."""
    known = {"id": new_id(), "name": "brisk-otter", "flow_name": "etl", "entrypoint": "/etl.py:etl"}
    lease = processes.new_lease(os.getpid(), 3600) if held else None
    return orchestration.create_flow_run(served.store, NewFlowRun(**{**known, **more}), states, lease).flow_run_id


def test_a_failed_run_awaits_its_retry(served: Any) -> None:
    run = make(served, Pending(), Running(), Failed())
    answer = served.post(f"flow_runs/{run}/retry", {"message": "mended"}, code=200)
    assert list(answer) == ["flow_run", "command", "reason"]
    assert answer["command"] == f"tidemill flow-run retry {run}"
    assert answer["flow_run"] == served.get(f"flow_runs/{run}")
    assert (answer["flow_run"]["state_type"], answer["flow_run"]["state_name"]) == ("SCHEDULED", "AwaitingRetry")


def test_nothing_needs_to_be_said(served: Any) -> None:
    run = make(served, Pending(), Failed())
    assert served.answer("POST", f"flow_runs/{run}/retry", 200)["command"]
    assert served.answer("POST", f"flow_runs/{run}/rerun", 201)["command"]


def test_what_a_process_works_on_is_not_retried(served: Any) -> None:
    run = make(served, Pending(), Running(), held=True)
    detail = served.post(f"flow_runs/{run}/retry", code=409)["detail"]
    assert "brisk-otter" in detail
    assert f"tidemill flow-run cancel {run}" in detail


def test_a_run_of_another_client(served: Any) -> None:
    flow = served.post("flows/", {"name": "theirs"})["id"]
    run = served.post("flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING"}, "parameters": {"x": 1}})["id"]
    assert "CRASHED" in served.post(f"flow_runs/{run}/retry", code=409)["detail"]
    served.post(f"flow_runs/{run}/set_state", {"state": {"type": "CRASHED"}})
    retried = served.post(f"flow_runs/{run}/retry")
    assert (retried["flow_run"]["state_name"], retried["command"]) == ("AwaitingRetry", None)
    assert "was not recorded" in retried["reason"]
    other = served.post(f"flow_runs/{run}/rerun", {"parameters": {"x": 2}})
    assert (other["flow_run"]["parameters"], other["command"]) == ({"x": 2}, None)
    assert served.post("flow_runs/count", {"flows": {"id": {"any_": [flow]}}}) == 2


def test_a_paused_run_is_resumed_instead(served: Any) -> None:
    flow = served.post("flows/", {"name": "theirs"})["id"]
    run = served.post("flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING"}})["id"]
    served.post(f"flow_runs/{run}/set_state", {"state": {"type": "PAUSED", "state_details": {"pause_key": "k"}}})
    assert "/resume" in served.post(f"flow_runs/{run}/retry", code=409)["detail"]


def test_another_run(served: Any) -> None:
    run = make(served, Pending(), Failed(), tags=["a"], parameters=b'{"day":"monday"}')
    body = {"parameters": {"day": "tuesday"}, "name": "second", "tags": []}
    answer = served.post(f"flow_runs/{run}/rerun", body, code=201)
    made = answer["flow_run"]
    assert (made["name"], made["tags"], made["parameters"]) == ("second", [], {"day": "tuesday"})
    assert (made["state_type"], made["entrypoint"]) == ("SCHEDULED", "/etl.py:etl")
    assert answer["command"] == f"tidemill flow-run resume {made['id']}"


@pytest.mark.parametrize("what", ["retry", "rerun"])
def test_what_is_not_there_is_not_found(served: Any, what: str) -> None:
    assert UNKNOWN in served.post(f"flow_runs/{UNKNOWN}/{what}", code=404)["detail"]
    served.post(f"flow_runs/nonsense/{what}", code=422)


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("retry", {"from": UNKNOWN}),
        ("retry", {"from_task_run_id": "load-0"}),
        ("retry", {"message": 1}),
        ("rerun", {"parameters": []}),
        ("rerun", {"name": ""}),
        ("rerun", {"tags": "a"}),
    ],
)
def test_a_wrong_request_is_refused(served: Any, what: str, body: Any) -> None:
    served.post(f"flow_runs/{make(served, Pending(), Failed())}/{what}", body, code=422)


@pytest.mark.parametrize("what", ["retry", "rerun"])
def test_it_takes_an_operator(what: str) -> None:
    assert role_needed("POST", f"/api/flow_runs/{UNKNOWN}/{what}") is Role.OPERATOR
