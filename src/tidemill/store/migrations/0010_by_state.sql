-- The newest runs in a state are found without looking at those in others.

DROP INDEX flow_run_by_state;

CREATE INDEX flow_run_by_state ON flow_run (state_type, (coalesce(start_time, expected_start_time)), id);
