"""What a server tells Prometheus, and what it logs of requests."""

import json
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tidemill import clock, ids, orchestration
from tidemill.records import NewFlowRun, RunPolicy
from tidemill.server.access_log import WRITERS, Answered
from tidemill.states import Pending, Scheduled
from tidemill.store import loops
from tidemill.store.loops import LoopHealth


def samples(served: Any) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels, sorted by the labels' names."""
    answer = httpx2.get(f"{served.url}/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def create_run(served: Any, flow_name: str, *states: Any) -> None:
    run = NewFlowRun(id=ids.new_id(), name="adept-capuchin", flow_name=flow_name, policy=RunPolicy())
    orchestration.create_flow_run(served.store, run, states or [Pending()], None)


def test_runs_are_told_by_flow_and_state(served):
    for _ in range(3):
        create_run(served, "etl")
    create_run(served, "ml", Scheduled(scheduled_time=clock.to_datetime(clock.now() - 90_000_000)))
    told = samples(served)
    assert told["tidemill_flow_runs", "etl", "PENDING"] == 3
    assert told["tidemill_flow_runs", "ml", "SCHEDULED"] == 1
    assert told["tidemill_late_flow_runs",] == 1
    assert 89 < told["tidemill_lateness_seconds",] < 3600
    assert told["tidemill_database_bytes",] > 10_000


def test_few_flows_are_told_apart_however_many_there_are(served):
    for n in range(60):
        create_run(served, f"flow-{n:02}")
    create_run(served, "flow-59")
    told = {key: value for key, value in samples(served).items() if key[0] == "tidemill_flow_runs"}
    assert len(told) == 51
    assert told["tidemill_flow_runs", "other", "PENDING"] == 10
    assert told["tidemill_flow_runs", "flow-59", "PENDING"] == 2


def test_runs_are_not_counted_each_time(served):
    create_run(served, "etl")
    first = samples(served)
    create_run(served, "etl")
    assert first["tidemill_flow_runs", "etl", "PENDING"] == samples(served)["tidemill_flow_runs", "etl", "PENDING"] == 1


def test_requests_are_told_by_the_path_as_the_api_has_it(served):
    for name in ("one", "two"):
        served.get(f"variables/name/{name}", code=404)
    served.get("nowhere/at/all", code=404)
    served.api.request("BREW", "health")
    told = samples(served)
    routes = {key[2] for key in told if key[0] == "tidemill_requests_total"}
    assert "/api/variables/name/{name}" in routes
    assert not any("one" in route or "nowhere" in route for route in routes - {"none"})
    assert told["tidemill_requests_total", "GET", "/api/variables/name/{name}", "404"] == 2
    assert told["tidemill_requests_total", "GET", "none", "404"] == 1
    assert told["tidemill_request_seconds_count", "GET", "/api/variables/name/{name}"] == 2
    assert "BREW" not in {key[1] for key in told if key[0] == "tidemill_requests_total"}


def test_the_time_of_the_store_is_told(served):
    served.post("variables/", {"name": "x", "value": 1})
    served.post("variables/filter")
    told = samples(served)
    assert told["tidemill_store_seconds_count", "read"] >= 1
    assert told["tidemill_store_seconds_count", "write"] >= 1


def test_listeners_are_counted_while_they_listen(served, wait_until):
    def listening() -> float:
        return samples(served).get(("tidemill_live_listeners", "stream"), 0.0)

    assert listening() == 0
    with httpx2.stream("GET", f"{served.url}/api/events/stream", timeout=60):
        wait_until(lambda: listening() == 1)
    wait_until(lambda: listening() == 0)
    # For how long somebody listened is no latency.
    wait_until(lambda: samples(served).get(("tidemill_request_seconds_count", "GET", "/api/events/stream")) == 1)


def test_the_loops_are_told(served):
    started = clock.to_datetime(clock.now() - 100_000_000)
    health = LoopHealth(name="lost-runs", server="a:1", interval_seconds=5.0, started=started, last_error="no")
    with served.store.transaction() as execute:
        loops.record(execute, [health])
    told = samples(served)
    assert told["tidemill_loop_last_tick_age_seconds", "lost-runs"] >= 100
    assert told["tidemill_loop_failing", "lost-runs"] == 1
    assert told["tidemill_loops_leader",] == 0


def test_metrics_are_under_the_api_too_and_in_either_format(served):
    answer = served.api.get("metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    assert served.api.get("metrics").headers["content-type"].startswith("text/plain")


# The access log

ANSWERED = Answered("GET", "/api/x\ny", b"limit=5&api_key=hush&Token=hush", "/api/{name}", 200, 0.0125, "ada", "127.0.0.1")


def test_a_line_of_text(caplog):
    caplog.set_level("INFO")
    WRITERS["text"](ANSWERED)
    assert caplog.messages == ["GET /api/x%0Ay?limit=5&api_key=***&Token=*** 200 12.5 ms ada 127.0.0.1"]


def test_a_line_of_json(caplog):
    caplog.set_level("INFO")
    WRITERS["json"](ANSWERED._replace(user=None))
    assert json.loads(caplog.messages[0]) == {
        "method": "GET",
        "route": "/api/{name}",
        "target": "/api/x%0Ay?limit=5&api_key=***&Token=***",
        "status": 200,
        "ms": 12.5,
        "user": None,
        "address": "127.0.0.1",
    }


@pytest.mark.parametrize(("how", "lines"), [("off", 0), ("text", 1), ("json", 1)])
def test_requests_are_logged_as_the_settings_say(serve, caplog, how, lines, wait_until):
    caplog.set_level("INFO")
    served = serve(server_access_log=how)
    served.get("health")
    served.get("hello")  # on the same connection: what the first left to be done is done
    wait_until(lambda: logged(caplog) >= lines)
    assert logged(caplog) <= 2 * lines


def logged(caplog: Any) -> int:
    return len([record for record in caplog.records if record.name == "tidemill.server.access"])
