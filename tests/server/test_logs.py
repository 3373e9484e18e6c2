"""What runs logged, over the API."""

import csv

import pytest
from tests.server.field_shapes import LOG, OWN_LOG

NOBODY = "01920000-0000-7000-8000-000000000001"


@pytest.fixture
def flow_run(served):
    flow = served.post("flows/", {"name": "my-flow"})["id"]
    return served.post("flow_runs/", {"flow_id": flow, "name": "tall hog"})["id"]


def line(message, second=0, **more):
    time = f"2026-11-22T07:28:{second:02}.075278Z"
    return {"name": "prefect.flow_runs", "level": 20, "message": message, "timestamp": time, "task_run_id": None, **more}


def test_lines_are_kept_in_the_order_of_their_times(served, flow_run):
    lines = [line("b", 2, flow_run_id=flow_run, worker_id=NOBODY), line("a", 1, flow_run_id=flow_run, task_run_id=NOBODY)]
    assert served.post("logs/", lines, code=201) is None
    assert served.post("logs/", line("c", 3, flow_run_id=flow_run, level=40), code=201) is None
    read = served.post("logs/filter")
    assert [log["message"] for log in read] == ["a", "b", "c"]
    assert all(set(log) == LOG | OWN_LOG for log in read)
    assert read[0]["timestamp"] == "2026-11-22T07:28:01.075278Z"
    assert (read[0]["task_run_id"], read[0]["flow_run_id"]) == (NOBODY, flow_run)
    chosen = {"logs": {"level": {"ge_": 30}, "flow_run_id": {"any_": [flow_run]}}}
    assert [log["message"] for log in served.post("logs/filter", chosen)] == ["c"]
    newest = {"sort": "TIMESTAMP_DESC", "limit": 1, "offset": 1}
    assert [log["message"] for log in served.post("logs/filter", newest)] == ["b"]


def test_lines_of_runs_that_are_not_there_are_dropped(served):
    served.post("logs/", [line("x", flow_run_id=NOBODY), line("y")], code=201)
    assert [log["message"] for log in served.post("logs/filter")] == ["y"]
    served.post("logs/", [], code=201)


def test_what_makes_no_sense_is_refused(served):
    served.post("logs/", [{"message": "x"}], code=422)
    served.post("logs/", [line("x", level="loud")], code=422)
    served.post("logs/filter", {"logs": {"flow_run": {}}}, code=422)
    served.post("logs/filter", {"limit": 201}, code=422)


def test_the_lines_of_a_flow_run_as_csv(served, flow_run):
    served.post("logs/", [line('say "hi",\nthen go', 1, flow_run_id=flow_run), line("b", 2, flow_run_id=flow_run, level=35)])
    answer = served.api.get(f"flow_runs/{flow_run}/logs/download")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="tall_hog-logs.csv"'
    header, first, second = csv.reader(answer.text.splitlines(keepends=True))
    assert header == ["timestamp", "level", "flow_run_id", "task_run_id", "message"]
    assert first == ["2026-11-22T07:28:01.075278+00:00", "INFO", flow_run, "", 'say "hi",\nthen go']
    assert second[1] == "Level 35"
    served.get(f"flow_runs/{NOBODY}/logs/download", code=404)


def test_no_token_against_forged_requests_is_needed(served):
    assert served.get("csrf-token", client=NOBODY, code=422) == {"detail": "CSRF protection is disabled."}
