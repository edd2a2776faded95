-- Which building of a pool's ledger sells from it. An order that an earlier ledger reserved is void.
ALTER TABLE pools ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0 CHECK (epoch >= 0);

-- Who does a job that one node at a time should do, and until when.
CREATE TABLE leases (
    name       TEXT    PRIMARY KEY,
    holder     TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
