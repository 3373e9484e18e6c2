-- Every order in which flow runs are listed is that of an index, read from either end. Names and tags are in none beside their
-- own: a row of an index here has at most 2,700 bytes.

DROP INDEX flow_run_by_start_descending;
DROP INDEX flow_run_by_expected_start_descending;
DROP INDEX flow_run_by_name;

CREATE INDEX flow_run_by_name ON flow_run (name, id);
CREATE INDEX flow_run_by_next_start ON flow_run
    ((CASE WHEN state_type = 'SCHEDULED' THEN expected_start_time ELSE 9223372036854775807 END), id DESC);
