-- What pages sum up is found in an index alone, whose rows are a tenth of what they tell of: how many task runs of a flow run
-- are in which state and when they ran, and how long the runs of a flow took.

CREATE INDEX task_run_by_state ON task_run (flow_run_id, state_type, task_key, start_time, end_time, id)
    WHERE flow_run_id IS NOT NULL;

DROP INDEX flow_run_by_flow;
CREATE INDEX flow_run_by_flow ON flow_run (flow_id, created, state_type, total_run_time);
