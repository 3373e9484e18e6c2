"""Flow runs over the API: as clients of the field make, read, list and change them."""

import pytest
from tests.server.field_shapes import (
    FLOW_RUN,
    FLOW_RUN_POLICY,
    OWN_FLOW_RUN,
    OWN_FLOW_RUN_POLICY,
    OWN_STATE_DETAILS,
    STATE,
    STATE_DETAILS,
)

NOBODY = "01920000-0000-7000-8000-000000000001"


@pytest.fixture
def flow(served):
    return served.post("flows/", {"name": "my-flow", "labels": {"team": "x"}})


@pytest.fixture
def make(served, flow):
    """Makes a flow run."""

    def make(code=201, **body):
        return served.post("flow_runs/", {"flow_id": flow["id"], **body}, code=code)

    return make


class TestMaking:
    def test_the_answer_has_the_keys_that_the_field_has(self, make):
        run = make()
        assert set(run) == FLOW_RUN | OWN_FLOW_RUN
        assert set(run["empirical_policy"]) == FLOW_RUN_POLICY | OWN_FLOW_RUN_POLICY
        assert set(run["state"]) == STATE
        assert set(run["state"]["state_details"]) == STATE_DETAILS | OWN_STATE_DETAILS

    def test_as_the_client_makes_one(self, served, flow, make):
        state = {"type": "PENDING", "name": "Pending", "message": None, "state_details": {"traceparent": None}, "data": None}
        run = make(
            state=state,
            name=None,
            flow_version="32101ad1",
            parameters={"x": [1]},
            context={"c": 1},
            parent_task_run_id=None,
            empirical_policy={"retries": 2, "retry_delay": 3},
            tags=["a"],
            labels={"mine": True},
        )
        first, second = run["name"].split("-")
        assert first
        assert second
        assert (run["flow_id"], run["flow_name"], run["flow_version"]) == (flow["id"], "my-flow", "32101ad1")
        assert (run["state_type"], run["state_name"], run["state"]["data"]) == ("PENDING", "Pending", None)
        assert (run["parameters"], run["context"], run["tags"]) == ({"x": [1]}, {"c": 1}, ["a"])
        assert run["labels"] == {"prefect.flow.id": flow["id"], "team": "x", "mine": True}
        assert (run["empirical_policy"]["retries"], run["empirical_policy"]["retry_delay"]) == (2, 3)
        assert (run["run_count"], run["start_time"], run["auto_scheduled"]) == (0, None, False)
        read = served.get(f"flow_runs/{run['id']}")
        assert read.pop("estimated_start_time_delta") > run.pop("estimated_start_time_delta")
        assert read == run

    @pytest.mark.parametrize("type", ["SCHEDULED", "RUNNING", "COMPLETED", "FAILED", "PAUSED", "CANCELLING", "CRASHED"])
    def test_in_any_state(self, make, type):
        run = make(state={"type": type, "name": "So", "data": {"any": [1, None]}})
        assert (run["state_type"], run["state_name"], run["state"]["data"]) == (type, "So", {"any": [1, None]})
        assert run["run_count"] == (type == "RUNNING")
        assert (run["start_time"] is not None) == (type == "RUNNING")
        assert (run["end_time"] is not None) == (type in ("COMPLETED", "FAILED", "CRASHED"))
        assert (run["next_scheduled_start_time"] is not None) == (type == "SCHEDULED")

    def test_one_that_is_scheduled_says_for_when(self, make):
        run = make(state={"type": "SCHEDULED", "state_details": {"scheduled_time": "2031-05-01T12:00:00+02:00"}})
        assert run["expected_start_time"] == run["next_scheduled_start_time"] == "2031-05-01T10:00:00Z"
        assert run["state"]["state_details"]["scheduled_time"] == "2031-05-01T10:00:00Z"

    def test_an_idempotency_key_makes_one_run(self, served, make):
        first, second = make(idempotency_key="k"), make(idempotency_key="k", name="other", code=200)
        assert first["id"] == second["id"]
        other = served.post("flows/", {"name": "other"})
        served.post("flow_runs/", {"flow_id": other["id"], "idempotency_key": "k"}, code=201)

    def test_an_id_makes_one_run(self, make):
        first, second = make(id=NOBODY), make(id=NOBODY, code=200)
        assert first["id"] == second["id"] == NOBODY

    def test_a_flow_that_is_not_there_has_no_runs(self, served):
        assert "There is no flow" in served.post("flow_runs/", {"flow_id": NOBODY}, code=404)["detail"]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"name": ""},
            {"flow_id": "x"},
            {"state": {"type": "SLEEPING"}},
            {"state": {"type": "PENDING", "state_details": {"scheduled_time": "soon"}}},
            {"state": {"type": "PENDING", "state_details": {"scheduled_time": "9999-12-31T23:59:59Z"}}},
            {"parameters": []},
            {"empirical_policy": {"retries": -1}},
            {"nmae": "x"},
            {"deployment_id": NOBODY},
        ],
    )
    def test_what_makes_no_sense_is_refused(self, make, wrong):
        assert make(code=422, **wrong)["exception_message"] == "Invalid request received."

    def test_what_is_unknown_of_a_states_details_is_kept(self, served, make):
        details = {"transition_id": NOBODY, "from_tomorrow": {"deep": [1]}, "deferred": None}
        run = make(state={"type": "PENDING", "state_details": details})
        told = served.get(f"flow_runs/{run['id']}")["state"]["state_details"]
        assert (told["from_tomorrow"], told["transition_id"], told["deferred"]) == ({"deep": [1]}, NOBODY, None)
        assert served.get("flow_run_states/", flow_run_id=run["id"])[0]["state_details"] == told


class TestChanging:
    def test_what_is_named_is_changed(self, served, make):
        run = make(parameters={"x": 1}, tags=["a"])
        change = {
            "flow_version": "2",
            "name": "new",
            "infrastructure_pid": "host:1",
            "job_variables": {"image": "x"},
            "empirical_policy": {"retries": 3, "retry_delay": 1, "pause_keys": ["1"], "resuming": False, "retry_type": None},
        }
        assert served.answer("PATCH", f"flow_runs/{run['id']}", 204, json=change) is None
        read = served.get(f"flow_runs/{run['id']}")
        policy = read.pop("empirical_policy")
        assert (policy["retries"], policy["pause_keys"]) == (3, ["1"])
        del change["empirical_policy"]
        assert {name: read[name] for name in change} == change
        assert (read["parameters"], read["tags"]) == ({"x": 1}, ["a"])
        assert read["updated"] > run["updated"]

    def test_labels_come_beside_those_that_are_there(self, served, make):
        run = make(labels={"a": 1, "b": 1})
        assert served.answer("PATCH", f"flow_runs/{run['id']}/labels", 204, json={"b": 2, "c": "x"}) is None
        assert served.get(f"flow_runs/{run['id']}")["labels"] == {**run["labels"], "b": 2, "c": "x"}

    def test_a_run_is_removed(self, served, make):
        run = make()
        assert served.answer("DELETE", f"flow_runs/{run['id']}", 204) is None
        served.get(f"flow_runs/{run['id']}", code=404)

    def test_what_is_not_there(self, served):
        served.get(f"flow_runs/{NOBODY}", code=404)
        served.answer("PATCH", f"flow_runs/{NOBODY}", 404, json={"name": "x"})
        served.answer("PATCH", f"flow_runs/{NOBODY}/labels", 404, json={})
        served.answer("DELETE", f"flow_runs/{NOBODY}", 404)
        served.post(f"flow_runs/{NOBODY}/set_state", {"state": {"type": "RUNNING"}}, code=404)
        served.post(f"flow_runs/{NOBODY}/resume", code=404)

    def test_many_are_removed_at_once(self, served, make):
        runs = [make(tags=[tag]) for tag in "aab"]
        told = served.post("flow_runs/bulk_delete", {"flow_runs": {"tags": {"all_": ["a"]}}})
        assert told == {"deleted": [run["id"] for run in runs[:2]]}
        assert [run["id"] for run in served.post("flow_runs/filter")] == [runs[2]["id"]]


class TestListing:
    def test_the_newest_come_first_and_a_body_is_not_needed(self, served, make):
        runs = [make()["id"] for _ in range(3)]
        assert [run["id"] for run in served.post("flow_runs/filter")] == runs[::-1]
        assert served.api.post("flow_runs/filter", content=b"").json()[0]["id"] == runs[2]
        assert served.post("flow_runs/count") == 3

    def test_by_the_filter_of_the_client(self, served, make):
        make()
        body = {
            "flows": None,
            "flow_runs": {"parent_task_run_id": {"any_": [NOBODY]}},
            "task_runs": None,
            "deployments": None,
            "work_pools": None,
            "work_pool_queues": None,
            "sort": "EXPECTED_START_TIME_DESC",
            "limit": 1,
            "offset": 0,
        }
        assert served.post("flow_runs/filter", body) == []
        body["flow_runs"] = {"parent_task_run_id": {"is_null_": True}}
        assert len(served.post("flow_runs/filter", body)) == 1

    @pytest.mark.parametrize(
        ("filter", "count"),
        [
            ({"deployment_id": {"is_null_": True}}, 2),
            ({"deployment_id": {"any_": [NOBODY]}}, 0),
            ({"deployment_id": {"operator": "or_", "any_": [NOBODY], "is_null_": True}}, 2),
            ({"work_queue_name": {"any_": ["x"]}}, 0),
            ({"work_queue_name": {"is_null_": False}}, 0),
            ({"created_by": {"type_": ["DEPLOYMENT"]}}, 0),
            ({"created_by": {"is_null_": True}}, 2),
            ({"next_scheduled_start_time": {"before_": "2031-01-02T00:00:00Z"}}, 1),
            ({"next_scheduled_start_time": {"after_": "2031-01-02T00:00:00"}}, 0),
            ({"name": {"like_": "ON"}}, 1),
            ({"state": {"type": {"any_": ["SCHEDULED"]}, "name": {"any_": ["Scheduled"]}}}, 1),
            ({"state": {"type": {"not_any_": ["SCHEDULED"]}}}, 1),
            ({"operator": "or_", "name": {"any_": ["one"]}, "tags": {"any_": ["t"]}}, 2),
            ({"tags": {"is_null_": True}}, 1),
            ({"flow_version": {"any_": ["7"]}}, 1),
            ({"expected_start_time": {"after_": "2030-01-01T00:00:00Z"}}, 1),
            ({"end_time": {"is_null_": True}}, 2),
            ({}, 2),
        ],
    )
    def test_by_every_field(self, served, make, filter, count):
        make(name="one", state={"type": "SCHEDULED", "state_details": {"scheduled_time": "2031-01-01T00:00:00Z"}})
        make(name="two", tags=["t"], flow_version="7")
        assert served.post("flow_runs/count", {"flow_runs": filter}) == count
        assert len(served.post("flow_runs/filter", {"flow_runs": filter})) == count

    @pytest.mark.parametrize(
        "wrong",
        [
            {"flow_runs": {"stat": {}}},
            {"flow_runs": {"name": {"any": ["x"]}}},
            {"flow_runs": {"id": {"any_": ["x"]}}},
            {"flow_runs": {"start_time": {"before_": "0001-01-01T00:00:00+23:00"}}},
            {"limit": 201},
            {"limit": -1},
            {"offset": -1},
            {"sort": "BY_MOOD"},
            [],
        ],
    )
    def test_a_filter_that_makes_no_sense_is_refused(self, served, wrong):
        assert served.post("flow_runs/filter", wrong, code=422)["exception_message"] == "Invalid request received."

    def test_a_body_that_is_no_json_is_refused(self, served):
        assert served.api.post("flow_runs/filter", content=b"{").status_code == 422

    def test_how_many_are_given_at_once_is_a_setting(self, serve):
        served = serve(server_api_default_limit=2)
        flow = served.post("flows/", {"name": "x"})
        for _ in range(3):
            served.post("flow_runs/", {"flow_id": flow["id"]})
        assert len(served.post("flow_runs/filter")) == 2
        assert "2 is the most" in str(served.post("flow_runs/filter", {"limit": 3}, code=422))

    def test_page_by_page(self, served, make):
        runs = [make()["id"] for _ in range(3)]
        page = served.post("flow_runs/paginate", {"limit": 2, "page": 2})
        assert [run["id"] for run in page.pop("results")] == runs[:1]
        assert page == {"count": 3, "limit": 2, "pages": 2, "page": 2}
