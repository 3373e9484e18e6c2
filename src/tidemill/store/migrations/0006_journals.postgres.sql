-- Runs that were recorded in a journal on their machine, and are shipped from there to a server.

-- On the server: up to which change it has everything of a journal. The change's time tells the journal from a copy of it
-- that has gone on by itself.
CREATE TABLE journal (
    id BYTEA PRIMARY KEY CHECK (length(id) = 16),
    applied BIGINT NOT NULL CHECK (applied >= 0),
    applied_time BIGINT NOT NULL,
    updated BIGINT NOT NULL
);

-- In the journal: by which id the server knows it, and when the last change was made that the server has.
ALTER TABLE shipment ADD COLUMN journal_id BYTEA CHECK (journal_id IS NULL OR length(journal_id) = 16);
ALTER TABLE shipment ADD COLUMN shipped_time BIGINT NOT NULL DEFAULT 0;

-- In the journal: the flow runs that the server has. One of them that it has no longer was deleted there.
CREATE TABLE shipped_flow_run (
    flow_run_id BYTEA PRIMARY KEY REFERENCES flow_run (id) ON DELETE CASCADE
);
