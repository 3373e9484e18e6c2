"""States of flow runs that clients of the field execute by themselves."""

import pytest

NOBODY = "01920000-0000-7000-8000-000000000001"


@pytest.fixture
def make(served):
    """Makes a flow run in a state."""
    flow = served.post("flows/", {"name": "my-flow"})

    def make(type="PENDING", **body):
        return served.post("flow_runs/", {"flow_id": flow["id"], "state": {"type": type}, **body})["id"]

    return make


@pytest.fixture
def propose(served):
    """Proposes a state of a flow run; gives status, type and name of the state it is in then, and the details."""

    def propose(run, type, name=None, code=201, force=False, **state):
        body = {"state": {"type": type, "name": name, **state}, "force": force}
        told = served.post(f"flow_runs/{run}/set_state", body, code=code)
        return told["status"], (told["state"]["type"], told["state"]["name"]), told["details"]

    return propose


def test_the_life_of_a_run(served, make, propose):
    run = make()
    assert propose(run, "RUNNING") == ("ACCEPT", ("RUNNING", "Running"), {"type": "accept_details"})
    assert propose(run, "COMPLETED", data={"storage_key": "x"})[:2] == ("ACCEPT", ("COMPLETED", "Completed"))
    read = served.get(f"flow_runs/{run}")
    assert (read["run_count"], read["state"]["data"]) == (1, {"storage_key": "x"})
    assert read["expected_start_time"] <= read["start_time"] <= read["end_time"]
    assert read["total_run_time"] > 0
    states = served.get("flow_run_states/", flow_run_id=run)
    assert [state["type"] for state in states] == ["PENDING", "RUNNING", "COMPLETED"]
    assert len({state["timestamp"] for state in states}) == 3


def test_the_same_transition_is_made_once(served, make, propose):
    run = make()
    details = {"transition_id": NOBODY}
    assert propose(run, "RUNNING", state_details=details)[0] == "ACCEPT"
    status, state, told = propose(run, "RUNNING", code=200, state_details=details)
    assert (status, state, told["type"]) == ("REJECT", ("RUNNING", "Running"), "reject_details")
    assert served.get(f"flow_runs/{run}")["run_count"] == 1


def test_a_completed_run_stays_completed_if_its_result_is_kept(make, propose):
    run = make("RUNNING")
    propose(run, "COMPLETED", data=[1])
    status, state, told = propose(run, "FAILED", code=200)
    assert (status, state, told["reason"]) == ("REJECT", ("COMPLETED", "Completed"), "Run is already COMPLETED.")
    assert propose(run, "COMPLETED", code=200, force=True)[0] == "REJECT"
    assert propose(run, "FAILED", force=True)[0] == "ACCEPT"


def test_a_run_that_has_ended_is_not_stopped_again(make, propose):
    run = make("CANCELLED")
    status, state, told = propose(run, "CRASHED", code=200)
    assert (status, state, told["type"]) == ("ABORT", ("CANCELLED", "Cancelled"), "abort_details")
    assert propose(run, "SCHEDULED", code=200)[0] == "ABORT"
    assert propose(run, "RUNNING")[:2] == ("ACCEPT", ("RUNNING", "Running"))


def test_a_run_is_submitted_once(make, propose):
    run = make("SCHEDULED")
    assert propose(run, "PENDING")[0] == "ACCEPT"
    assert propose(run, "PENDING", code=200)[0] == "ABORT"
    assert propose(run, "PENDING", "Submitting")[:2] == ("ACCEPT", ("PENDING", "Submitting"))
    assert propose(run, "PENDING", "InfrastructurePending")[0] == "ACCEPT"
    propose(run, "RUNNING")
    assert propose(run, "PENDING", code=200)[0] == "ABORT"


def test_a_run_waits_for_its_time_also_once_it_is_submitted(served, make, propose):
    run = make("SCHEDULED")
    served.answer("DELETE", f"flow_runs/{run}", 204)
    flow = served.post("flows/", {"name": "my-flow"})["id"]
    when = {"scheduled_time": "2039-01-01T00:00:00Z"}
    run = served.post("flow_runs/", {"flow_id": flow, "state": {"type": "SCHEDULED", "state_details": when}})["id"]
    propose(run, "PENDING")
    propose(run, "PENDING", "Submitting")
    status, state, told = propose(run, "RUNNING", code=200)
    assert (status, state, told["type"]) == ("WAIT", ("PENDING", "Submitting"), "wait_details")
    assert isinstance(told["delay_seconds"], int)
    assert told["delay_seconds"] > 10**8
    assert told["reason"] == "Scheduled time is in the future"


def test_a_run_that_fails_is_tried_again(served, make, propose):
    run = make("RUNNING", empirical_policy={"retries": 1, "retry_delay": 1000})
    body = {"state": {"type": "FAILED", "message": "boom", "data": {"k": 1}, "state_details": {"retriable": False}}}
    told = served.post(f"flow_runs/{run}/set_state", body, code=201)
    assert (told["status"], told["details"]) == ("REJECT", {"type": "reject_details", "reason": "Retrying"})
    assert (told["state"]["name"], told["state"]["message"], told["state"]["data"]) == ("AwaitingRetry", "boom", {"k": 1})
    assert told["state"]["state_details"]["scheduled_time"] is not None
    assert served.get(f"flow_runs/{run}")["empirical_policy"]["retry_type"] == "in_process"
    status, _, details = propose(run, "RUNNING", code=200)
    assert status == "WAIT"
    assert 990 < details["delay_seconds"] <= 1000


def test_a_retry_runs_under_its_name_and_the_next_failure_is_the_last(served, make, propose):
    run = make("RUNNING", empirical_policy={"retries": 1, "retry_delay": 0})
    assert propose(run, "FAILED")[0] == "REJECT"
    assert propose(run, "RUNNING")[:2] == ("ACCEPT", ("RUNNING", "Retrying"))
    assert propose(run, "FAILED")[:2] == ("ACCEPT", ("FAILED", "Failed"))
    read = served.get(f"flow_runs/{run}")
    assert (read["run_count"], read["empirical_policy"]["retry_type"]) == (2, None)


def test_force_passes_over_the_rules(make, propose):
    run = make("RUNNING", empirical_policy={"retries": 1})
    assert propose(run, "PENDING", force=True)[:2] == ("ACCEPT", ("PENDING", "Pending"))
    assert propose(run, "FAILED", force=True)[:2] == ("ACCEPT", ("FAILED", "Failed"))
    assert propose(run, "SCHEDULED", force=True)[0] == "ACCEPT"


def test_only_what_is_scheduled_is_late(make, propose):
    assert propose(make("SCHEDULED"), "SCHEDULED", "Late")[:2] == ("ACCEPT", ("SCHEDULED", "Late"))
    assert propose(make("RUNNING"), "SCHEDULED", "Late", code=200)[:2] == ("REJECT", ("RUNNING", "Running"))


def test_many_runs_are_given_a_state_at_once(served, make):
    runs = [make("RUNNING"), make("CANCELLED")]
    told = served.post("flow_runs/bulk_set_state", {"state": {"type": "CANCELLING"}})["results"]
    assert [(each["flow_run_id"], each["status"]) for each in told] == list(zip(runs, ["ACCEPT", "ABORT"], strict=True))
    assert [each["state"]["type"] for each in told] == ["CANCELLING", "CANCELLED"]


class TestCancelling:
    def test_a_run_that_a_client_executes_is_asked_to_stop(self, make, propose):
        run = make("RUNNING")
        assert propose(run, "CANCELLING")[:2] == ("ACCEPT", ("CANCELLING", "Cancelling"))
        assert propose(run, "COMPLETED", code=200)[:2] == ("REJECT", ("CANCELLING", "Cancelling"))
        assert propose(run, "CANCELLED", force=True)[:2] == ("ACCEPT", ("CANCELLED", "Cancelled"))

    @pytest.mark.parametrize("type", ["SCHEDULED", "PAUSED"])
    def test_one_that_nobody_executes_is_cancelled_at_once(self, make, propose, type):
        assert propose(make(type), "CANCELLING", message="no")[:2] == ("REJECT", ("CANCELLED", "Cancelled"))

    def test_one_with_a_process_is_not(self, served, make, propose):
        run = make("PAUSED")
        served.answer("PATCH", f"flow_runs/{run}", 204, json={"infrastructure_pid": "host:1"})
        assert propose(run, "CANCELLING")[:2] == ("ACCEPT", ("CANCELLING", "Cancelling"))

    def test_what_it_has_not_finished_is_cancelled_with_it(self, served, make, propose):
        run = make("RUNNING")
        body = {"flow_run_id": run, "task_key": "t", "dynamic_key": "0", "state": {"type": "RUNNING"}}
        task_run = served.post("task_runs/", body)["id"]
        child = make("RUNNING", parent_task_run_id=task_run)
        propose(run, "CANCELLED", message="enough")
        assert served.get(f"flow_runs/{child}")["state_type"] == "CANCELLED"
        assert served.get(f"task_runs/{task_run}")["state_type"] == "CANCELLED"


class TestPausing:
    def pause(self, propose, run, key="1", code=201, **details):
        return propose(run, "PAUSED", code=code, state_details={"pause_key": key, **details})

    def test_a_paused_run_goes_on_in_the_same_attempt(self, served, make, propose):
        run = make("RUNNING")
        assert self.pause(propose, run, pause_timeout="2039-01-01T00:00:00Z")[:2] == ("ACCEPT", ("PAUSED", "Paused"))
        assert served.get(f"flow_runs/{run}")["empirical_policy"]["pause_keys"] == ["1"]
        told = served.post(f"flow_runs/{run}/resume", {"run_input": None}, code=201)
        assert (told["status"], told["state"]["type"], told["state"]["name"]) == ("ACCEPT", "RUNNING", "Running")
        read = served.get(f"flow_runs/{run}")
        assert (read["run_count"], read["empirical_policy"]["resuming"]) == (1, False)

    def test_each_pause_fires_once(self, served, make, propose):
        run = make("RUNNING")
        self.pause(propose, run)
        served.post(f"flow_runs/{run}/resume")
        status, state, told = self.pause(propose, run, code=200)
        assert (status, state, told["reason"]) == ("REJECT", ("RUNNING", "Running"), "This pause has already fired.")
        assert self.pause(propose, run, key="2")[0] == "ACCEPT"

    def test_only_what_runs_is_paused(self, make, propose):
        assert self.pause(propose, make("PENDING"), code=200)[0] == "REJECT"

    def test_only_what_is_deployed_is_suspended(self, make, propose):
        assert self.pause(propose, make("RUNNING"), code=200, pause_reschedule=True)[0] == "ABORT"

    def test_a_pause_that_lasted_too_long_has_failed(self, served, make, propose):
        run = make("RUNNING")
        self.pause(propose, run, pause_timeout="2024-01-01T00:00:00Z")
        told = served.post(f"flow_runs/{run}/resume", code=201)
        assert (told["status"], told["state"]["type"]) == ("REJECT", "FAILED")
        assert told["state"]["message"] == "The flow was paused and never resumed."

    def test_what_is_not_paused_is_not_resumed(self, served, make):
        told = served.post(f"flow_runs/{make('RUNNING')}/resume", code=200)
        assert (told["status"], told["details"]["type"]) == ("ABORT", "abort_details")

    def test_a_run_gets_what_it_waits_for(self, served, make, propose):
        run = make("RUNNING")
        keyset = {"schema": "paused-1-schema", "response": "paused-1-response"}
        self.pause(propose, run, run_input_keyset=keyset)
        served.post(f"flow_runs/{run}/resume", {"run_input": {"name": "bob"}}, code=201)
        assert served.get(f"flow_runs/{run}/input/paused-1-response") == {"name": "bob"}
