-- Flows, their runs, the runs of their tasks, and what was logged.
-- Ids are the 16 bytes of a UUID; times are microseconds since the epoch, UTC; JSON columns hold text.

CREATE TABLE flow (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    tags TEXT NOT NULL DEFAULT '[]' CHECK (json_type(tags) = 'array'),
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row for each process that runs flows. Every flow run it works on points here, so one update renews them all.
CREATE TABLE lease (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    pid INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    hostname TEXT NOT NULL,
    acquired INTEGER NOT NULL,
    deadline INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE flow_run (
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
    UNIQUE (flow_id, idempotency_key),
    CHECK ((end_time IS NOT NULL) = (state_type IN ('COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED'))),
    CHECK (state_type NOT IN ('COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED', 'SCHEDULED', 'PAUSED') OR lease_id IS NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX flow_run_by_state ON flow_run (state_type, created);
CREATE INDEX flow_run_by_flow ON flow_run (flow_id, created);
CREATE INDEX flow_run_by_name ON flow_run (name);
CREATE INDEX flow_run_by_created ON flow_run (created);
CREATE INDEX flow_run_by_lease ON flow_run (lease_id) WHERE lease_id IS NOT NULL;
CREATE INDEX flow_run_by_parent_task_run ON flow_run (parent_task_run_id) WHERE parent_task_run_id IS NOT NULL;
CREATE INDEX flow_run_by_parent ON flow_run (parent_flow_run_id) WHERE parent_flow_run_id IS NOT NULL;

-- Every state a flow run went through, in order.
CREATE TABLE flow_run_state (
    flow_run_id BLOB NOT NULL REFERENCES flow_run (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL CHECK (seq >= 0),
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    type TEXT NOT NULL,
    name TEXT NOT NULL,
    message TEXT,
    timestamp INTEGER NOT NULL,
    details TEXT NOT NULL DEFAULT '{}' CHECK (json_type(details) = 'object'),
    result_serializer TEXT,
    result BLOB,
    result_key TEXT,
    PRIMARY KEY (flow_run_id, seq),
    CHECK (result_serializer IS NOT NULL OR (result IS NULL AND result_key IS NULL)),
    CHECK (result IS NULL OR result_key IS NULL)
) STRICT, WITHOUT ROWID;

-- A task run with its whole story: the row is written once or twice in its life, so its states are kept inside it.
CREATE TABLE task_run (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    flow_run_id BLOB REFERENCES flow_run (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    name TEXT NOT NULL,
    task_key TEXT NOT NULL,
    dynamic_key TEXT NOT NULL,
    task_version TEXT,
    run_count INTEGER NOT NULL CHECK (run_count >= 0),
    state_type TEXT NOT NULL CHECK (state_type IN
        ('SCHEDULED', 'PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED', 'PAUSED', 'CANCELLING')),
    state_name TEXT NOT NULL,
    -- [[type, name, message, microseconds], ...], first to last; name and message null where they say nothing new
    history TEXT NOT NULL,
    details TEXT,
    tags TEXT NOT NULL,
    task_inputs TEXT NOT NULL,
    empirical_policy TEXT,
    input_hash TEXT,
    cache_key TEXT,
    created INTEGER NOT NULL,
    start_time INTEGER,
    end_time INTEGER,
    total_run_time INTEGER NOT NULL,
    result_serializer TEXT,
    result BLOB,
    result_key TEXT,
    UNIQUE (flow_run_id, task_key, dynamic_key),
    CHECK ((end_time IS NOT NULL) = (state_type IN ('COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED'))),
    CHECK (result_serializer IS NOT NULL OR (result IS NULL AND result_key IS NULL)),
    CHECK (result IS NULL OR result_key IS NULL)
) STRICT, WITHOUT ROWID;

-- Tasks called outside a flow; those inside one are found through the constraint above.
CREATE INDEX task_run_alone ON task_run (created) WHERE flow_run_id IS NULL;

-- Row numbers grow in the order of commits, since writers queue: who reads "after this row" misses nothing.
CREATE TABLE log (
    seq INTEGER PRIMARY KEY,
    flow_run_id BLOB REFERENCES flow_run (id) ON DELETE CASCADE,
    task_run_id BLOB,
    level INTEGER NOT NULL,
    timestamp INTEGER NOT NULL,
    name TEXT NOT NULL,
    message TEXT NOT NULL
) STRICT;

CREATE INDEX log_by_flow_run ON log (flow_run_id) WHERE flow_run_id IS NOT NULL;
CREATE INDEX log_by_task_run ON log (task_run_id) WHERE flow_run_id IS NULL;
