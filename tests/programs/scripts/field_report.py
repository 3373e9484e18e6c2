"""What a server shows of the flows that were run, read by the field's own client: as JSON, without what differs each time."""

import json
import re
import sys
import time
from collections import Counter

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.client.schemas.sorting import FlowRunSort, LogSort

UNFINISHED = {"RUNNING", "SCHEDULED"}
PATIENCE = 120.0


def pages(read, **asked):
    """All that a listing has, page by page."""
    found, offset = [], 0
    while page := read(limit=200, offset=offset, **asked):
        found += page
        offset += len(page)
    return found


def without_chance(text, names):
    for name in names:
        text = text.replace(name, "<run>")
    text = re.sub(r"-[0-9a-f]{3}\b", "-<key>", text)
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>", text)
    return re.sub(r"https?://[^ '\"]+", "<url>", text)


def told_of_state(state, names):
    return [state.type.value, state.name, without_chance((state.message or "").partition("\n")[0], names)]


def counted(them):
    """What is the same, once, with how many there are of it."""
    texts = Counter(json.dumps(each, sort_keys=True) for each in them)
    return [[count, json.loads(text)] for text, count in sorted(texts.items())]


def told_of_task_run(client, run, names):
    states = client.request("GET", "/task_run_states/", params={"task_run_id": str(run.id)}).json()
    return {
        "name": re.sub(r"-[0-9a-f]{3}$", "-<key>", run.name),
        "state": told_of_state(run.state, names),
        "states": [state["name"] for state in sorted(states, key=lambda state: state["timestamp"])],
        "run_count": run.run_count,
        "flow_run_run_count": run.flow_run_run_count,
        "tags": sorted(run.tags),
        "inputs": {name: [each.input_type for each in inputs] for name, inputs in run.task_inputs.items()},
        "task": run.task_key.rpartition("-")[0] or run.task_key,
        "began": run.start_time is not None,
        "ended": run.end_time is not None,
        "ran": bool(run.total_run_time),
    }


def told_of_flow_run(client, run, flows, names):
    in_it = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run.id]))
    lines = pages(
        client.read_logs,
        log_filter=LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])),
        sort=LogSort.TIMESTAMP_ASC,
    )
    states = client.read_flow_run_states(run.id)
    task_runs = [told_of_task_run(client, each, names) for each in pages(client.read_task_runs, task_run_filter=in_it)]
    return {
        "flow": flows[run.flow_id],
        "name": without_chance(run.name, names),
        "state": told_of_state(run.state, names),
        "states": [state.name for state in sorted(states, key=lambda state: state.timestamp)],
        "run_count": run.run_count,
        "parameters": {name: value if not isinstance(value, float) else "<float>" for name, value in run.parameters.items()},
        "tags": sorted(run.tags),
        "is_subflow_run": run.parent_task_run_id is not None,
        "task_runs": counted(task_runs),
        "logs": counted([line.level, line.name, without_chance(line.message.partition("\n")[0], names)] for line in lines),
    }


def await_task_runs(client, expected):
    """A server may take a while to know of task runs: waits for so many, or else until there come no more."""
    known, since = None, time.monotonic()
    deadline = since + PATIENCE
    while time.monotonic() < deadline:
        runs = {run.id: run.state_type for run in pages(client.read_task_runs)}
        is_settled = not any(type is None or type.value in UNFINISHED for type in runs.values())
        if is_settled and len(runs) == expected:
            return
        if runs != known:
            known, since = runs, time.monotonic()
        elif is_settled and expected is None and time.monotonic() > since + 5:
            return
        time.sleep(0.5)


def main(expected=None):
    with get_client(sync_client=True) as client:
        await_task_runs(client, expected and int(expected))
        flows = {flow.id: flow.name for flow in pages(client.read_flows)}
        runs = pages(client.read_flow_runs, sort=FlowRunSort.EXPECTED_START_TIME_ASC)
        names = [run.name for run in runs if not run.name.startswith("greeting-")]
        artifacts = client.request("POST", "/artifacts/filter", json={"sort": "KEY_ASC"}).json()
        report = {
            "flow_runs": sorted(
                [told_of_flow_run(client, run, flows, names) for run in runs], key=lambda run: (run["flow"], json.dumps(run))
            ),
            # Its own server has one for each result too, without a key.
            "artifacts": [[each["key"], each["type"], each["data"], each["description"]] for each in artifacts if each["key"]],
            "variables": [[each.name, each.value, each.tags] for each in client.read_variables()],
            "one": len(client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[runs[0].id])))),
        }
    json.dump(report, sys.stdout, indent=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
