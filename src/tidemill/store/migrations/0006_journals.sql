-- Runs that were recorded in a journal on their machine, and are shipped from there to a server.

-- On the server: up to which change it has everything of a journal. The change's time tells the journal from a copy of it
-- that has gone on by itself.
CREATE TABLE journal (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    applied INTEGER NOT NULL CHECK (applied >= 0),
    applied_time INTEGER NOT NULL,
    updated INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- In the journal: by which id the server knows it, and when the last change was made that the server has.
ALTER TABLE shipment ADD COLUMN journal_id BLOB CHECK (journal_id IS NULL OR length(journal_id) = 16);
ALTER TABLE shipment ADD COLUMN shipped_time INTEGER NOT NULL DEFAULT 0;

-- In the journal: the flow runs that the server has. One of them that it has no longer was deleted there.
CREATE TABLE shipped_flow_run (
    flow_run_id BLOB PRIMARY KEY REFERENCES flow_run (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
