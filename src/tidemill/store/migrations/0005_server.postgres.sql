-- What a server keeps beside runs, and the order in which everything was committed, for those who follow it live.

CREATE FUNCTION json_valid(document TEXT) RETURNS BOOLEAN LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    PERFORM document::json;
    RETURN TRUE;
EXCEPTION WHEN invalid_text_representation THEN
    RETURN FALSE;
END $$;

ALTER TABLE flow ADD COLUMN labels TEXT NOT NULL DEFAULT '{}' CHECK (json_type(labels) = 'object');
ALTER TABLE flow_run ADD COLUMN labels TEXT NOT NULL DEFAULT '{}' CHECK (json_type(labels) = 'object');
ALTER TABLE flow_run ADD COLUMN context TEXT NOT NULL DEFAULT '{}' CHECK (json_type(context) = 'object');
ALTER TABLE flow_run ADD COLUMN job_variables TEXT NOT NULL DEFAULT '{}' CHECK (json_type(job_variables) = 'object');
ALTER TABLE flow_run ADD COLUMN infrastructure_pid TEXT;
ALTER TABLE task_run ADD COLUMN labels TEXT CHECK (labels IS NULL OR json_type(labels) = 'object');

CREATE INDEX flow_run_by_start ON flow_run ((coalesce(start_time, expected_start_time)), id);
CREATE INDEX flow_run_by_start_descending ON flow_run ((coalesce(start_time, expected_start_time)) DESC NULLS LAST, id DESC);
CREATE INDEX flow_run_by_expected_start ON flow_run (expected_start_time, id);
CREATE INDEX flow_run_by_expected_start_descending ON flow_run (expected_start_time DESC NULLS LAST, id DESC);
CREATE INDEX flow_run_by_end ON flow_run (end_time DESC NULLS LAST, id DESC);
CREATE INDEX flow_run_state_by_time ON flow_run_state (timestamp);

-- Who removes a run removes its result files, unless something else has them too.
CREATE INDEX flow_run_state_by_result_key ON flow_run_state (result_key) WHERE result_key IS NOT NULL;
CREATE INDEX cache_by_result_key ON cache (result_key) WHERE result_key IS NOT NULL;

-- One row for each thing that a transaction changed or logged: who reads the settled ones "after this row" misses nothing, and
-- sees nothing twice. The runs themselves are read where they are, as they are by then.
CREATE TABLE change (
    seq BIGINT PRIMARY KEY DEFAULT next_place('change'),
    time BIGINT NOT NULL,
    -- The ids of the runs that changed, 16 bytes each, one after the other.
    flow_runs BYTEA,
    task_runs BYTEA,
    -- The rows of log that came with it.
    first_log BIGINT,
    last_log BIGINT,
    CHECK ((first_log IS NULL) = (last_log IS NULL)),
    CHECK (length(flow_runs) % 16 = 0 AND length(task_runs) % 16 = 0)
);

-- What others told that happened, beside the changes of runs: the events of the field's clients.
CREATE TABLE event (
    seq BIGINT PRIMARY KEY DEFAULT next_place('event'),
    id BYTEA NOT NULL UNIQUE CHECK (length(id) = 16),
    occurred BIGINT NOT NULL,
    received BIGINT NOT NULL,
    name TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    document TEXT NOT NULL CHECK (json_type(document) = 'object')
);

CREATE INDEX event_by_time ON event (occurred);
CREATE INDEX event_by_resource ON event (resource_id, occurred);

CREATE TABLE flow_run_input (
    flow_run_id BYTEA NOT NULL REFERENCES flow_run (id) ON DELETE CASCADE,
    key TEXT NOT NULL CHECK (key <> ''),
    id BYTEA NOT NULL UNIQUE CHECK (length(id) = 16),
    value TEXT NOT NULL,
    sender TEXT,
    created BIGINT NOT NULL,
    PRIMARY KEY (flow_run_id, key)
);

CREATE TABLE variable (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    -- Any JSON value.
    value TEXT NOT NULL CHECK (json_valid(value)),
    tags TEXT NOT NULL DEFAULT '[]' CHECK (json_type(tags) = 'array'),
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL
);

CREATE TABLE artifact (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    key TEXT,
    type TEXT,
    description TEXT,
    -- Any JSON value, or none.
    data TEXT CHECK (data IS NULL OR json_valid(data)),
    metadata TEXT CHECK (metadata IS NULL OR json_type(metadata) = 'object'),
    flow_run_id BYTEA REFERENCES flow_run (id) ON DELETE CASCADE,
    task_run_id BYTEA,
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL
);

CREATE INDEX artifact_by_key ON artifact (key, created) WHERE key IS NOT NULL;
CREATE INDEX artifact_by_flow_run ON artifact (flow_run_id) WHERE flow_run_id IS NOT NULL;
CREATE INDEX artifact_by_task_run ON artifact (task_run_id) WHERE task_run_id IS NOT NULL;

CREATE TABLE saved_search (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    filters TEXT NOT NULL DEFAULT '[]' CHECK (json_type(filters) = 'array'),
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL
);

-- Limits on how much may go on at once. Those on task runs with a tag are named `tag:<tag>`.
CREATE TABLE concurrency_limit (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    slots BIGINT NOT NULL CHECK (slots >= 0),
    active BIGINT NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
    -- Taken by who gives no lease for them, beside those that leases hold; they come back at so many a second.
    taken DOUBLE PRECISION NOT NULL DEFAULT 0 CHECK (taken >= 0),
    taken_at BIGINT NOT NULL DEFAULT 0,
    slot_decay_per_second DOUBLE PRECISION NOT NULL DEFAULT 0 CHECK (slot_decay_per_second >= 0),
    denied_slots BIGINT NOT NULL DEFAULT 0 CHECK (denied_slots >= 0),
    avg_slot_occupancy_seconds DOUBLE PRECISION NOT NULL DEFAULT 2,
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL
);

CREATE TABLE concurrency_lease (
    id BYTEA NOT NULL CHECK (length(id) = 16),
    limit_id BYTEA NOT NULL REFERENCES concurrency_limit (id) ON DELETE CASCADE,
    slots BIGINT NOT NULL CHECK (slots > 0),
    -- Who holds it, as it said of itself: type and id.
    holder TEXT CHECK (holder IS NULL OR json_type(holder) = 'object'),
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    PRIMARY KEY (id, limit_id)
);

CREATE INDEX concurrency_lease_by_limit ON concurrency_lease (limit_id);
CREATE INDEX concurrency_lease_by_expiry ON concurrency_lease (expires);

-- Who may use the API; of a token only a hash is kept.
CREATE TABLE token (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    hash BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    created BIGINT NOT NULL,
    expires BIGINT,
    last_used BIGINT,
    revoked BIGINT
);

-- The background loops of the server that leads them, as they were at their last tick.
CREATE TABLE loop (
    name TEXT PRIMARY KEY CHECK (name <> ''),
    server TEXT NOT NULL,
    interval_seconds DOUBLE PRECISION NOT NULL,
    started BIGINT NOT NULL,
    last_tick BIGINT,
    last_seconds DOUBLE PRECISION,
    ticks BIGINT NOT NULL DEFAULT 0,
    failures BIGINT NOT NULL DEFAULT 0,
    last_error TEXT
);

-- In the journal of a machine whose runs are recorded by a server: up to which change that server has everything.
CREATE TABLE shipment (
    server TEXT PRIMARY KEY CHECK (server <> ''),
    shipped BIGINT NOT NULL DEFAULT 0 CHECK (shipped >= 0),
    updated BIGINT NOT NULL,
    last_error TEXT
);
