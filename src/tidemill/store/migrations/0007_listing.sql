-- Every order in which flow runs are listed is that of an index, which also holds what they are most often filtered by: a page
-- of a long list is found in one of these, without looking at the runs themselves.

DROP INDEX flow_run_by_start;
DROP INDEX flow_run_by_expected_start;
DROP INDEX flow_run_by_end;
DROP INDEX flow_run_by_name;

CREATE INDEX flow_run_by_start ON flow_run
    (coalesce(start_time, expected_start_time), id, state_type, state_name, flow_id, name, tags, start_time,
     expected_start_time, end_time);
CREATE INDEX flow_run_by_expected_start ON flow_run
    (expected_start_time, id, state_type, state_name, flow_id, name, tags, start_time, end_time);
CREATE INDEX flow_run_by_end ON flow_run
    (end_time, id, state_type, state_name, flow_id, name, tags, start_time, expected_start_time);
CREATE INDEX flow_run_by_name ON flow_run
    (name, id, state_type, state_name, flow_id, tags, start_time, expected_start_time, end_time);
CREATE INDEX flow_run_by_next_start ON flow_run
    (CASE WHEN state_type = 'SCHEDULED' THEN expected_start_time ELSE 9223372036854775807 END, id DESC, state_type, state_name,
     flow_id, name, tags, start_time, expected_start_time, end_time);
-- Last, so that it is the one that is read through where order does not matter: nothing in it has to be worked out.
CREATE INDEX flow_run_by_id ON flow_run
    (id, state_type, state_name, flow_id, name, tags, start_time, expected_start_time, end_time);
