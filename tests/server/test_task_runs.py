"""Task runs over the API: those that stand for subflow runs, and those that a client of the field executes."""

import pytest
from tests.server.field_shapes import OWN_STATE_DETAILS, STATE, STATE_DETAILS, TASK_RUN, TASK_RUN_POLICY

from tidemill import clock, orchestration
from tidemill.ids import new_id
from tidemill.orchestration import processes
from tidemill.records import Batch, NewFlowRun, Progress, TaskRunEntry
from tidemill.states import COMPLETED, PENDING, RUNNING, Completed, Pending, ResultReference, Running

NOBODY = "01920000-0000-7000-8000-000000000001"


@pytest.fixture
def flow_run(served):
    flow = served.post("flows/", {"name": "my-flow"})["id"]
    return served.post("flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING"}})


@pytest.fixture
def make(served, flow_run):
    """Makes a task run in a state."""

    def make(type="PENDING", code=201, **body):
        body = {"flow_run_id": flow_run["id"], "task_key": "t", "dynamic_key": "0", "state": {"type": type}, **body}
        return served.post("task_runs/", body, code=code)

    return make


@pytest.fixture
def propose(served):
    """Proposes a state of a task run; gives status, type and name of the state it is in then, and the details."""

    def propose(run, type, name=None, code=201, force=False, **state):
        body = {"state": {"type": type, "name": name, **state}, "force": force}
        told = served.post(f"task_runs/{run['id']}/set_state", body, code=code)
        return told["status"], (told["state"]["type"], told["state"]["name"]), told["details"]

    return propose


@pytest.fixture
def own_task_run(served):
    """Records a task run of a flow run that a living process of ours holds; gives its id."""

    def record(type):
        lease = processes.new_lease(served_pid(), 60)
        run = NewFlowRun(id=new_id(), name="own", flow_name="own")
        orchestration.create_flow_run(served.store, run, [Pending(), Running()], lease)
        now = clock.now()
        progress = Progress(PENDING, "Pending", (("PENDING", None, None, now),)).then(RUNNING, None, None, now)
        if type is COMPLETED:
            progress = progress.then(COMPLETED, None, None, now)
        result = ResultReference("json", b'{"n": 1}') if type is COMPLETED else None
        entry = TaskRunEntry(new_id(), run.id, 1, "step-0", "step", "0", "[]", None, now, progress, result=result)
        served.store.record(Batch([entry], [], (lease.id,)))
        return run.id, entry.id, lease

    return record


def served_pid():
    import os

    return os.getpid()


class TestMaking:
    def test_as_the_client_makes_one_for_a_subflow(self, served, make, flow_run):
        body = {
            "state": {"type": "PENDING", "name": "Pending", "state_details": {"deferred": None}, "data": None},
            "name": "common-flow-0",
            "task_key": "common_flow-d50f905e",
            "cache_key": None,
            "cache_expiration": None,
            "task_version": "4d5a",
            "empirical_policy": {"max_retries": 0, "retry_delay_seconds": 0.0, "retries": 2, "retry_delay": [1, 2]},
            "tags": ["a"],
            "labels": {"mine": 1},
            "task_inputs": {"config": []},
        }
        run = make(**body)
        assert set(run) == TASK_RUN
        assert set(run["empirical_policy"]) == TASK_RUN_POLICY
        assert set(run["state"]) == STATE
        assert set(run["state"]["state_details"]) == STATE_DETAILS | OWN_STATE_DETAILS
        assert (run["name"], run["task_version"], run["task_inputs"]) == ("common-flow-0", "4d5a", {"config": []})
        assert (run["run_count"], run["flow_run_run_count"], run["start_time"]) == (0, 0, None)
        assert run["empirical_policy"]["retry_delay"] == [1, 2]
        assert run["labels"] == {
            "prefect.flow.id": flow_run["flow_id"],
            "prefect.flow-run.id": flow_run["id"],
            "mine": 1,
        }
        details = run["state"]["state_details"]
        assert (details["flow_run_id"], details["task_run_id"], details["deferred"]) == (flow_run["id"], run["id"], None)

    def test_its_keys_make_one_run(self, make):
        first = make()
        assert make(code=200, name="other")["id"] == first["id"]
        assert make(dynamic_key="1")["id"] != first["id"]
        assert make(code=200, id=first["id"], dynamic_key="2")["id"] == first["id"]

    def test_outside_a_flow_run(self, served, make):
        run = make("SCHEDULED", flow_run_id=None, id=NOBODY)
        assert (run["id"], run["flow_run_id"], run["labels"]) == (NOBODY, None, {})
        assert "-" in run["name"]

    def test_what_is_not_there_or_makes_no_sense(self, make):
        assert "There is no flow run" in make(code=404, flow_run_id=NOBODY)["detail"]
        make(code=422, task_key=None)
        make(code=422, task_inputs={"x": 1})
        make(code=422, colour="red")


class TestSubflows:
    def test_the_states_of_a_subflow_run_are_those_of_its_task_run(self, served, make, flow_run):
        task_run = make()
        flow = flow_run["flow_id"]
        child = served.post("flow_runs/", {"flow_id": flow, "parent_task_run_id": task_run["id"]})
        assert child["parent_flow_run_id"] == flow_run["id"]
        for type, data in (("RUNNING", None), ("COMPLETED", {"k": 1})):
            served.post(f"flow_runs/{child['id']}/set_state", {"state": {"type": type, "message": "m", "data": data}})
            read = served.get(f"task_runs/{task_run['id']}")
            assert (read["state_type"], read["state"]["message"], read["state"]["data"]) == (type, "m", data)
            assert read["state"]["state_details"]["child_flow_run_id"] == child["id"]
        assert read["run_count"] == 1
        types = [state["type"] for state in served.get("task_run_states/", task_run_id=task_run["id"])]
        assert types == ["PENDING", "PENDING", "RUNNING", "COMPLETED"]
        chosen = {"flow_runs": {"parent_task_run_id": {"any_": [task_run["id"]]}}, "limit": 1}
        assert [run["id"] for run in served.post("flow_runs/filter", chosen)] == [child["id"]]
        chosen = {"flow_runs": {"parent_flow_run_id": {"any_": [flow_run["id"]]}}}
        assert [run["id"] for run in served.post("flow_runs/filter", chosen)] == [child["id"]]


class TestStates:
    def test_the_life_of_a_task_run(self, served, make, propose):
        run = make()
        assert propose(run, "RUNNING")[:2] == ("ACCEPT", ("RUNNING", "Running"))
        assert propose(run, "COMPLETED", data=[1])[:2] == ("ACCEPT", ("COMPLETED", "Completed"))
        read = served.get(f"task_runs/{run['id']}")
        assert (read["run_count"], read["flow_run_run_count"], read["state"]["data"]) == (1, 1, [1])
        assert read["start_time"] <= read["end_time"]
        assert propose(run, "RUNNING", code=200)[:2] == ("REJECT", ("COMPLETED", "Completed"))
        assert propose(run, "CRASHED", code=200)[0] == "ABORT"

    def test_a_task_run_that_fails_is_tried_again(self, make, propose):
        run = make("RUNNING", empirical_policy={"retries": 1, "retry_delay": [0]})
        status, state, told = propose(run, "FAILED", message="boom")
        assert (status, state, told["reason"]) == ("REJECT", ("SCHEDULED", "AwaitingRetry"), "Retrying")
        assert propose(run, "RUNNING")[:2] == ("ACCEPT", ("RUNNING", "Retrying"))
        assert propose(run, "FAILED")[:2] == ("ACCEPT", ("FAILED", "Failed"))

    def test_one_that_cannot_be_is_not(self, make, propose):
        run = make("RUNNING", empirical_policy={"retries": 1})
        assert propose(run, "FAILED", state_details={"retriable": False})[:2] == ("ACCEPT", ("FAILED", "Failed"))

    def test_no_task_begins_in_a_flow_run_that_is_paused_or_has_ended(self, served, make, flow_run, propose):
        run = make()
        path = f"flow_runs/{flow_run['id']}/set_state"
        served.post(path, {"state": {"type": "PAUSED", "state_details": {"pause_key": "1"}}}, code=201)
        assert propose(run, "RUNNING")[:2] == ("REJECT", ("PAUSED", "NotReady"))
        served.post(path, {"state": {"type": "FAILED"}, "force": True}, code=201)
        assert propose(run, "RUNNING", code=200)[0] == "ABORT"
        assert propose(run, "RUNNING", force=True)[0] == "ACCEPT"

    def test_states_are_found_by_their_ids(self, served, make, propose):
        run = make()
        propose(run, "RUNNING")
        first, second = served.get("task_run_states/", task_run_id=run["id"])
        assert served.get(f"task_run_states/{second['id']}") == second
        assert served.get(f"task_run_states/{first['id']}") == first
        served.get(f"task_run_states/{NOBODY}", code=404)
        states = served.get("flow_run_states/", flow_run_id=run["flow_run_id"])
        assert served.get(f"flow_run_states/{states[0]['id']}") == states[0]
        served.get(f"flow_run_states/{NOBODY}", code=404)
        assert served.get("flow_run_states/", flow_run_id=NOBODY) == []
        served.get("flow_run_states/", code=422)


class TestOwnRuns:
    def test_a_task_run_that_a_process_of_ours_executes_is_left_to_it(self, served, own_task_run):
        flow_run, task_run, _ = own_task_run(RUNNING)
        told = served.post(f"task_runs/{task_run}/set_state", {"state": {"type": "COMPLETED"}}, code=409)
        assert "executes it" in told["detail"]
        told = served.post(f"flow_runs/{flow_run}/set_state", {"state": {"type": "CANCELLING"}}, code=201)
        assert (told["status"], told["state"]["type"]) == ("ACCEPT", "CANCELLING")

    def test_its_result_is_described_and_not_read(self, served, own_task_run):
        flow_run, task_run, lease = own_task_run(COMPLETED)
        data = served.get(f"task_runs/{task_run}")["state"]["data"]
        assert data == {"type": "result", "serializer": "json", "size": 8, "storage_key": None, "value": {"n": 1}}
        pickled = Completed(data=ResultReference("pickle", b"never loaded"))
        orchestration.propose_flow_run_state(served.store, flow_run, pickled, lease_id=lease.id, attempt=1)
        data = served.get(f"flow_runs/{flow_run}")["state"]["data"]
        assert data == {"type": "result", "serializer": "pickle", "size": 12, "storage_key": None}


class TestListing:
    def test_task_runs_are_listed_counted_and_paged(self, served, make):
        runs = [make(dynamic_key=str(n), name=f"step-{n}", tags=["even"] if n % 2 == 0 else [])["id"] for n in range(3)]
        assert [run["id"] for run in served.post("task_runs/filter")] == runs[::-1]
        some = {"task_runs": {"tags": {"all_": ["even"]}}, "sort": "NAME_ASC"}
        assert [run["id"] for run in served.post("task_runs/filter", some)] == [runs[0], runs[2]]
        assert served.post("task_runs/count", {"task_runs": {"name": {"any_": ["step-1"]}}}) == 1
        page = served.post("task_runs/paginate", {"limit": 2, "page": 2})
        assert [run["id"] for run in page.pop("results")] == runs[:1]
        assert page == {"count": 3, "limit": 2, "pages": 2, "page": 2}
        served.post("task_runs/filter", {"task_runs": {"colour": {}}}, code=422)

    def test_a_task_run_is_renamed_and_removed(self, served, make):
        run = make()
        assert served.answer("PATCH", f"task_runs/{run['id']}", 204, json={"name": "new"}) is None
        assert served.get(f"task_runs/{run['id']}")["name"] == "new"
        assert served.answer("DELETE", f"task_runs/{run['id']}", 204) is None
        served.get(f"task_runs/{run['id']}", code=404)
        served.answer("PATCH", f"task_runs/{run['id']}", 404, json={"name": "new"})
        served.answer("DELETE", f"task_runs/{run['id']}", 404)
        served.post(f"task_runs/{run['id']}/set_state", {"state": {"type": "RUNNING"}}, code=404)
