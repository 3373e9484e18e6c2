-- Results that later calls may use, by the key of the call that gave them.

CREATE TABLE cache (
    key TEXT PRIMARY KEY CHECK (key <> ''),
    -- The run whose result it is; it may have been deleted since.
    task_run_id BYTEA NOT NULL CHECK (length(task_run_id) = 16),
    -- The only flow run that can use it, where the key holds for one.
    flow_run_id BYTEA REFERENCES flow_run (id) ON DELETE CASCADE,
    created BIGINT NOT NULL,
    expires BIGINT,
    result_serializer TEXT NOT NULL,
    result BYTEA,
    result_key TEXT,
    CHECK ((result IS NULL) <> (result_key IS NULL))
);

CREATE INDEX cache_by_expiry ON cache (expires) WHERE expires IS NOT NULL;
CREATE INDEX cache_by_flow_run ON cache (flow_run_id) WHERE flow_run_id IS NOT NULL;

-- Who is computing the result of a key, so that others wait for it. A claim goes with the lease of its process.
CREATE TABLE cache_claim (
    key TEXT PRIMARY KEY CHECK (key <> ''),
    owner BYTEA NOT NULL CHECK (length(owner) = 16),
    lease_id BYTEA NOT NULL REFERENCES lease (id) ON DELETE CASCADE,
    acquired BIGINT NOT NULL
);

CREATE INDEX cache_claim_by_lease ON cache_claim (lease_id);

-- To tell why a run hit or missed: the runs with its key, and those of its task.
CREATE INDEX task_run_by_cache_key ON task_run (cache_key, created) WHERE cache_key IS NOT NULL;
CREATE INDEX task_run_with_key_by_task ON task_run (task_key, created) WHERE cache_key IS NOT NULL;

-- A run that hit has the result file of another: it is removed when the last of them is.
CREATE INDEX task_run_by_result_key ON task_run (result_key) WHERE result_key IS NOT NULL;
