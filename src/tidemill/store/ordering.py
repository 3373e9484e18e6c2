"""Turns sorts into ORDER BY."""

from __future__ import annotations

from tidemill.filters import ArtifactSort, FlowRunSort, FlowSort, LogSort, TaskRunSort, VariableSort

FLOW_ORDER = {
    FlowSort.CREATED_DESC: "flow.created DESC, flow.id DESC",
    FlowSort.UPDATED_DESC: "flow.updated DESC, flow.id DESC",
    FlowSort.NAME_ASC: "flow.name ASC",
    FlowSort.NAME_DESC: "flow.name DESC",
}
# The orders of flow runs are those of indexes, so that the first page is read without sorting the rest.
_NEXT_START = "CASE WHEN {0}.state_type = 'SCHEDULED' THEN {0}.{1} ELSE 9223372036854775807 END ASC, {0}.id DESC"
FLOW_RUN_BEGAN = "coalesce(flow_run.start_time, flow_run.expected_start_time)"
FLOW_RUN_ORDER = {
    FlowRunSort.ID_DESC: "flow_run.id DESC",
    FlowRunSort.START_TIME_ASC: f"{FLOW_RUN_BEGAN} ASC, flow_run.id ASC",
    FlowRunSort.START_TIME_DESC: f"{FLOW_RUN_BEGAN} DESC, flow_run.id DESC",
    FlowRunSort.EXPECTED_START_TIME_ASC: "flow_run.expected_start_time ASC, flow_run.id ASC",
    FlowRunSort.EXPECTED_START_TIME_DESC: "flow_run.expected_start_time DESC, flow_run.id DESC",
    FlowRunSort.NAME_ASC: "flow_run.name ASC, flow_run.id ASC",
    FlowRunSort.NAME_DESC: "flow_run.name DESC, flow_run.id DESC",
    FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC: _NEXT_START.format("flow_run", "expected_start_time"),
    FlowRunSort.END_TIME_DESC: "flow_run.end_time DESC NULLS LAST, flow_run.id DESC",
}
# A task run is expected to start when it is created; it has no column for that.
TASK_RUN_ORDER = {
    TaskRunSort.ID_DESC: "task_run.id DESC",
    TaskRunSort.EXPECTED_START_TIME_ASC: "task_run.created ASC, task_run.id ASC",
    TaskRunSort.EXPECTED_START_TIME_DESC: "task_run.created DESC, task_run.id DESC",
    TaskRunSort.NAME_ASC: "task_run.name ASC, task_run.id DESC",
    TaskRunSort.NAME_DESC: "task_run.name DESC, task_run.id DESC",
    TaskRunSort.NEXT_SCHEDULED_START_TIME_ASC: _NEXT_START.format("task_run", "created"),
    TaskRunSort.END_TIME_DESC: "task_run.end_time DESC NULLS LAST, task_run.id DESC",
    TaskRunSort.DURATION_ASC: "task_run.total_run_time ASC, task_run.id DESC",
    TaskRunSort.DURATION_DESC: "task_run.total_run_time DESC, task_run.id DESC",
}
LOG_ORDER = {
    LogSort.TIMESTAMP_ASC: "log.timestamp ASC, log.seq ASC",
    LogSort.TIMESTAMP_DESC: "log.timestamp DESC, log.seq DESC",
}

VARIABLE_ORDER = {
    VariableSort.CREATED_DESC: "variable.created DESC, variable.id DESC",
    VariableSort.UPDATED_DESC: "variable.updated DESC, variable.id DESC",
    VariableSort.NAME_ASC: "variable.name ASC",
    VariableSort.NAME_DESC: "variable.name DESC",
}
ARTIFACT_ORDER = {
    ArtifactSort.CREATED_DESC: "artifact.created DESC, artifact.id DESC",
    ArtifactSort.UPDATED_DESC: "artifact.updated DESC, artifact.id DESC",
    ArtifactSort.ID_DESC: "artifact.id DESC",
    ArtifactSort.KEY_ASC: "artifact.key ASC NULLS FIRST, artifact.id DESC",
    ArtifactSort.KEY_DESC: "artifact.key DESC NULLS LAST, artifact.id DESC",
}
