-- What it takes to begin another attempt of a run: which process holds it, and with what it was called.

-- When the process started, in the unit of its kernel: another process that got the same id later is told from it.
ALTER TABLE lease ADD COLUMN process_start INTEGER;

-- The table is made anew, since a run that waits for its retry is still held by its process, which a constraint forbade.
CREATE TABLE flow_run_new (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    flow_id BLOB NOT NULL REFERENCES flow (id),
    name TEXT NOT NULL CHECK (name <> ''),
    flow_version TEXT,
    entrypoint TEXT,
    -- How often the run has been started; whoever writes for the run must name the attempt that is current.
    attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    lease_id BLOB REFERENCES lease (id) ON DELETE SET NULL,
    state_id BLOB NOT NULL CHECK (length(state_id) = 16),
    state_type TEXT NOT NULL CHECK (state_type IN
        ('SCHEDULED', 'PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED', 'PAUSED', 'CANCELLING')),
    state_name TEXT NOT NULL,
    state_timestamp INTEGER NOT NULL,
    parameters TEXT NOT NULL DEFAULT '{}' CHECK (json_type(parameters) = 'object'),
    tags TEXT NOT NULL DEFAULT '[]' CHECK (json_type(tags) = 'array'),
    empirical_policy TEXT NOT NULL DEFAULT '{}' CHECK (json_type(empirical_policy) = 'object'),
    parent_task_run_id BLOB,
    parent_flow_run_id BLOB,
    idempotency_key TEXT,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    expected_start_time INTEGER,
    start_time INTEGER,
    end_time INTEGER,
    total_run_time INTEGER NOT NULL DEFAULT 0 CHECK (total_run_time >= 0),
    -- The arguments of the call as they were, where the parameters, which are JSON, do not give them back.
    call_serializer TEXT,
    call BLOB,
    UNIQUE (flow_id, idempotency_key),
    CHECK ((call IS NULL) = (call_serializer IS NULL)),
    CHECK ((end_time IS NOT NULL) = (state_type IN ('COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED'))),
    CHECK (state_type NOT IN ('COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED', 'PAUSED') OR lease_id IS NULL)
) STRICT, WITHOUT ROWID;

INSERT INTO flow_run_new SELECT
    id, flow_id, name, flow_version, entrypoint, attempt, lease_id, state_id, state_type, state_name, state_timestamp,
    parameters, tags, empirical_policy, parent_task_run_id, parent_flow_run_id, idempotency_key, created, updated,
    expected_start_time, start_time, end_time, total_run_time, NULL, NULL
FROM flow_run;
DROP TABLE flow_run;
ALTER TABLE flow_run_new RENAME TO flow_run;

CREATE INDEX flow_run_by_state ON flow_run (state_type, created);
CREATE INDEX flow_run_by_flow ON flow_run (flow_id, created);
CREATE INDEX flow_run_by_name ON flow_run (name);
CREATE INDEX flow_run_by_created ON flow_run (created);
CREATE INDEX flow_run_by_lease ON flow_run (lease_id) WHERE lease_id IS NOT NULL;
CREATE INDEX flow_run_by_parent_task_run ON flow_run (parent_task_run_id) WHERE parent_task_run_id IS NOT NULL;
CREATE INDEX flow_run_by_parent ON flow_run (parent_flow_run_id) WHERE parent_flow_run_id IS NOT NULL;
