-- A task run outside a flow is held by its process until it ends, as a flow run is; those inside one go with their flow run.

ALTER TABLE task_run ADD COLUMN lease_id BYTEA REFERENCES lease (id) ON DELETE SET NULL
    CHECK (lease_id IS NULL OR (flow_run_id IS NULL AND end_time IS NULL));

CREATE INDEX task_run_by_lease ON task_run (lease_id) WHERE lease_id IS NOT NULL;
