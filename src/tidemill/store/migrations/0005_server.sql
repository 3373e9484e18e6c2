-- What a server keeps beside runs, and the order in which everything was committed, for those who follow it live.

ALTER TABLE flow ADD COLUMN labels TEXT NOT NULL DEFAULT '{}' CHECK (json_type(labels) = 'object');
ALTER TABLE flow_run ADD COLUMN labels TEXT NOT NULL DEFAULT '{}' CHECK (json_type(labels) = 'object');
ALTER TABLE flow_run ADD COLUMN context TEXT NOT NULL DEFAULT '{}' CHECK (json_type(context) = 'object');
ALTER TABLE flow_run ADD COLUMN job_variables TEXT NOT NULL DEFAULT '{}' CHECK (json_type(job_variables) = 'object');
ALTER TABLE flow_run ADD COLUMN infrastructure_pid TEXT;
ALTER TABLE task_run ADD COLUMN labels TEXT CHECK (labels IS NULL OR json_type(labels) = 'object');

CREATE INDEX flow_run_by_start ON flow_run (coalesce(start_time, expected_start_time), id);
CREATE INDEX flow_run_by_expected_start ON flow_run (expected_start_time, id);
CREATE INDEX flow_run_by_end ON flow_run (end_time, id);
CREATE INDEX flow_run_state_by_time ON flow_run_state (timestamp);

-- Who removes a run removes its result files, unless something else has them too.
CREATE INDEX flow_run_state_by_result_key ON flow_run_state (result_key) WHERE result_key IS NOT NULL;
CREATE INDEX cache_by_result_key ON cache (result_key) WHERE result_key IS NOT NULL;

-- One row for each transaction that changed runs or logged: who reads "after this row" misses nothing, and sees nothing
-- twice. The runs themselves are read where they are, as they are by then. The newest row is never removed, so that no number
-- is given twice; AUTOINCREMENT, which sees to the same, would cost every commit a page more.
CREATE TABLE change (
    seq INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    -- The ids of the runs that changed, 16 bytes each, one after the other.
    flow_runs BLOB,
    task_runs BLOB,
    -- The rows of log that came with it.
    first_log INTEGER,
    last_log INTEGER,
    CHECK ((first_log IS NULL) = (last_log IS NULL)),
    CHECK (length(flow_runs) % 16 = 0 AND length(task_runs) % 16 = 0)
) STRICT;

-- What others told that happened, beside the changes of runs: the events of the field's clients.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    occurred INTEGER NOT NULL,
    received INTEGER NOT NULL,
    name TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    document TEXT NOT NULL CHECK (json_type(document) = 'object')
) STRICT;

CREATE INDEX event_by_time ON event (occurred);
CREATE INDEX event_by_resource ON event (resource_id, occurred);

CREATE TABLE flow_run_input (
    flow_run_id BLOB NOT NULL REFERENCES flow_run (id) ON DELETE CASCADE,
    key TEXT NOT NULL CHECK (key <> ''),
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    value TEXT NOT NULL,
    sender TEXT,
    created INTEGER NOT NULL,
    PRIMARY KEY (flow_run_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE variable (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    -- Any JSON value.
    value TEXT NOT NULL CHECK (json_valid(value)),
    tags TEXT NOT NULL DEFAULT '[]' CHECK (json_type(tags) = 'array'),
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE artifact (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    key TEXT,
    type TEXT,
    description TEXT,
    -- Any JSON value, or none.
    data TEXT CHECK (data IS NULL OR json_valid(data)),
    metadata TEXT CHECK (metadata IS NULL OR json_type(metadata) = 'object'),
    flow_run_id BLOB REFERENCES flow_run (id) ON DELETE CASCADE,
    task_run_id BLOB,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX artifact_by_key ON artifact (key, created) WHERE key IS NOT NULL;
CREATE INDEX artifact_by_flow_run ON artifact (flow_run_id) WHERE flow_run_id IS NOT NULL;
CREATE INDEX artifact_by_task_run ON artifact (task_run_id) WHERE task_run_id IS NOT NULL;

CREATE TABLE saved_search (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    filters TEXT NOT NULL DEFAULT '[]' CHECK (json_type(filters) = 'array'),
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Limits on how much may go on at once. Those on task runs with a tag are named `tag:<tag>`.
CREATE TABLE concurrency_limit (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    slots INTEGER NOT NULL CHECK (slots >= 0),
    active INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
    -- Taken by who gives no lease for them, beside those that leases hold; they come back at so many a second.
    taken REAL NOT NULL DEFAULT 0 CHECK (taken >= 0),
    taken_at INTEGER NOT NULL DEFAULT 0,
    slot_decay_per_second REAL NOT NULL DEFAULT 0 CHECK (slot_decay_per_second >= 0),
    denied_slots INTEGER NOT NULL DEFAULT 0 CHECK (denied_slots >= 0),
    avg_slot_occupancy_seconds REAL NOT NULL DEFAULT 2,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE concurrency_lease (
    id BLOB NOT NULL CHECK (length(id) = 16),
    limit_id BLOB NOT NULL REFERENCES concurrency_limit (id) ON DELETE CASCADE,
    slots INTEGER NOT NULL CHECK (slots > 0),
    -- Who holds it, as it said of itself: type and id.
    holder TEXT CHECK (holder IS NULL OR json_type(holder) = 'object'),
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (id, limit_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX concurrency_lease_by_limit ON concurrency_lease (limit_id);
CREATE INDEX concurrency_lease_by_expiry ON concurrency_lease (expires);

-- Who may use the API; of a token only a hash is kept.
CREATE TABLE token (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    created INTEGER NOT NULL,
    expires INTEGER,
    last_used INTEGER,
    revoked INTEGER
) STRICT, WITHOUT ROWID;

-- The background loops of the server that leads them, as they were at their last tick.
CREATE TABLE loop (
    name TEXT PRIMARY KEY CHECK (name <> ''),
    server TEXT NOT NULL,
    interval_seconds REAL NOT NULL,
    started INTEGER NOT NULL,
    last_tick INTEGER,
    last_seconds REAL,
    ticks INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    last_error TEXT
) STRICT, WITHOUT ROWID;

-- In the journal of a machine whose runs are recorded by a server: up to which change that server has everything.
CREATE TABLE shipment (
    server TEXT PRIMARY KEY CHECK (server <> ''),
    shipped INTEGER NOT NULL DEFAULT 0 CHECK (shipped >= 0),
    updated INTEGER NOT NULL,
    last_error TEXT
) STRICT, WITHOUT ROWID;
