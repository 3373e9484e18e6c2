-- What it takes to begin another attempt of a run: which process holds it, and with what it was called.

-- When the process started, in the unit of its kernel: another process that got the same id later is told from it.
ALTER TABLE lease ADD COLUMN process_start BIGINT;

-- A run that waits for its retry is still held by its process.
ALTER TABLE flow_run DROP CONSTRAINT held;
ALTER TABLE flow_run ADD CONSTRAINT held
    CHECK (state_type NOT IN ('COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED', 'PAUSED') OR lease_id IS NULL);

-- The arguments of the call as they were, where the parameters, which are JSON, do not give them back.
ALTER TABLE flow_run ADD COLUMN call_serializer TEXT;
ALTER TABLE flow_run ADD COLUMN call BYTEA;
ALTER TABLE flow_run ADD CHECK ((call IS NULL) = (call_serializer IS NULL));
