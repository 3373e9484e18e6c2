-- Flows, their runs, the runs of their tasks, and what was logged.
-- Ids are the 16 bytes of a UUID; times are microseconds since the epoch, UTC; JSON columns hold text.

-- What SQLite has of itself, so that the statements of the store are the same for both.
CREATE FUNCTION json_type(document TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT json_typeof(document::json) $$;
CREATE FUNCTION json_each(document TEXT) RETURNS TABLE (value TEXT) LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT json_array_elements_text(replace(document, '\u0000', '\ufffd')::json) $$;

-- Transactions are not committed in the order in which they began, so rows that others follow are numbered by the transaction
-- that wrote them (its id, times 2^20, and from there on one by one). Once every transaction before some id has ended, the
-- order of what they wrote does not change any more: `settled()` is the first number of which that is not sure.

-- Added to the ids of transactions: a database that was moved to another cluster goes on where it was, though that cluster
-- counts its transactions from elsewhere. Both functions are replaced then.
CREATE FUNCTION origin() RETURNS BIGINT LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 0::bigint $$;
CREATE FUNCTION cluster() RETURNS TEXT LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT ''::text $$;

CREATE FUNCTION first_place() RETURNS BIGINT LANGUAGE sql VOLATILE
    AS $$ SELECT (pg_current_xact_id()::text::bigint + origin()) << 20 $$;
CREATE FUNCTION settled() RETURNS BIGINT LANGUAGE sql STABLE
    AS $$ SELECT (pg_snapshot_xmin(pg_current_snapshot())::text::bigint + origin()) << 20 $$;
CREATE FUNCTION places_taken(place TEXT) RETURNS BIGINT LANGUAGE sql STABLE
    AS $$ SELECT coalesce(nullif(current_setting('tidemill.' || place, true), ''), '0')::bigint $$;
CREATE FUNCTION next_place(place TEXT) RETURNS BIGINT LANGUAGE plpgsql VOLATILE AS $$
DECLARE taken BIGINT := places_taken(place);
BEGIN
    IF taken >= 1 << 20 THEN
        RAISE EXCEPTION 'more than % rows of % in one transaction', 1 << 20, place;
    END IF;
    PERFORM set_config('tidemill.' || place, (taken + 1)::text, true);
    RETURN first_place() + taken;
END $$;
-- The number of the log line that this transaction added last.
CREATE FUNCTION last_insert_rowid() RETURNS BIGINT LANGUAGE sql VOLATILE
    AS $$ SELECT first_place() + places_taken('log') - 1 $$;

CREATE TABLE flow (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    name TEXT COLLATE "C" NOT NULL UNIQUE CHECK (name <> ''),
    tags TEXT NOT NULL DEFAULT '[]' CHECK (json_type(tags) = 'array'),
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL
);

-- One row for each process that runs flows. Every flow run it works on points here, so one update renews them all.
CREATE TABLE lease (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    pid BIGINT NOT NULL,
    boot_id TEXT NOT NULL,
    hostname TEXT NOT NULL,
    acquired BIGINT NOT NULL,
    deadline BIGINT NOT NULL
);

CREATE TABLE flow_run (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    flow_id BYTEA NOT NULL REFERENCES flow (id),
    name TEXT COLLATE "C" NOT NULL CHECK (name <> ''),
    flow_version TEXT,
    entrypoint TEXT,
    -- How often the run has been started; whoever writes for the run must name the attempt that is current.
    attempt BIGINT NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    lease_id BYTEA REFERENCES lease (id) ON DELETE SET NULL,
    state_id BYTEA NOT NULL CHECK (length(state_id) = 16),
    state_type TEXT NOT NULL CHECK (state_type IN
        ('SCHEDULED', 'PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED', 'PAUSED', 'CANCELLING')),
    state_name TEXT NOT NULL,
    state_timestamp BIGINT NOT NULL,
    parameters TEXT NOT NULL DEFAULT '{}' CHECK (json_type(parameters) = 'object'),
    tags TEXT NOT NULL DEFAULT '[]' CHECK (json_type(tags) = 'array'),
    empirical_policy TEXT NOT NULL DEFAULT '{}' CHECK (json_type(empirical_policy) = 'object'),
    parent_task_run_id BYTEA,
    parent_flow_run_id BYTEA,
    idempotency_key TEXT,
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    expected_start_time BIGINT,
    start_time BIGINT,
    end_time BIGINT,
    total_run_time BIGINT NOT NULL DEFAULT 0 CHECK (total_run_time >= 0),
    UNIQUE (flow_id, idempotency_key),
    CHECK ((end_time IS NOT NULL) = (state_type IN ('COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED'))),
    CONSTRAINT held
        CHECK (state_type NOT IN ('COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED', 'SCHEDULED', 'PAUSED') OR lease_id IS NULL)
);

CREATE INDEX flow_run_by_state ON flow_run (state_type, created);
CREATE INDEX flow_run_by_flow ON flow_run (flow_id, created);
CREATE INDEX flow_run_by_name ON flow_run (name);
CREATE INDEX flow_run_by_created ON flow_run (created);
CREATE INDEX flow_run_by_lease ON flow_run (lease_id) WHERE lease_id IS NOT NULL;
CREATE INDEX flow_run_by_parent_task_run ON flow_run (parent_task_run_id) WHERE parent_task_run_id IS NOT NULL;
CREATE INDEX flow_run_by_parent ON flow_run (parent_flow_run_id) WHERE parent_flow_run_id IS NOT NULL;

-- Every state a flow run went through, in order.
CREATE TABLE flow_run_state (
    flow_run_id BYTEA NOT NULL REFERENCES flow_run (id) ON DELETE CASCADE,
    seq BIGINT NOT NULL CHECK (seq >= 0),
    id BYTEA NOT NULL UNIQUE CHECK (length(id) = 16),
    type TEXT NOT NULL,
    name TEXT NOT NULL,
    message TEXT,
    timestamp BIGINT NOT NULL,
    details TEXT NOT NULL DEFAULT '{}' CHECK (json_type(details) = 'object'),
    result_serializer TEXT,
    result BYTEA,
    result_key TEXT,
    PRIMARY KEY (flow_run_id, seq),
    CHECK (result_serializer IS NOT NULL OR (result IS NULL AND result_key IS NULL)),
    CHECK (result IS NULL OR result_key IS NULL)
);

-- A task run with its whole story: the row is written once or twice in its life, so its states are kept inside it.
CREATE TABLE task_run (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    flow_run_id BYTEA REFERENCES flow_run (id) ON DELETE CASCADE,
    attempt BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    task_key TEXT NOT NULL,
    dynamic_key TEXT NOT NULL,
    task_version TEXT,
    run_count BIGINT NOT NULL CHECK (run_count >= 0),
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
    created BIGINT NOT NULL,
    start_time BIGINT,
    end_time BIGINT,
    total_run_time BIGINT NOT NULL,
    result_serializer TEXT,
    result BYTEA,
    result_key TEXT,
    UNIQUE (flow_run_id, task_key, dynamic_key),
    CHECK ((end_time IS NOT NULL) = (state_type IN ('COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED'))),
    CHECK (result_serializer IS NOT NULL OR (result IS NULL AND result_key IS NULL)),
    CHECK (result IS NULL OR result_key IS NULL)
);

-- Tasks called outside a flow; those inside one are found through the constraint above.
CREATE INDEX task_run_alone ON task_run (created) WHERE flow_run_id IS NULL;

CREATE TABLE log (
    seq BIGINT PRIMARY KEY DEFAULT next_place('log'),
    flow_run_id BYTEA REFERENCES flow_run (id) ON DELETE CASCADE,
    task_run_id BYTEA,
    level BIGINT NOT NULL,
    timestamp BIGINT NOT NULL,
    name TEXT NOT NULL,
    message TEXT NOT NULL
);

CREATE INDEX log_by_flow_run ON log (flow_run_id, seq) WHERE flow_run_id IS NOT NULL;
CREATE INDEX log_by_task_run ON log (task_run_id, seq) WHERE flow_run_id IS NULL;
