-- The order log of the embedded engines: what Kafka is to the cluster.

CREATE TABLE order_log (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    pool_id  TEXT    NOT NULL,
    payload  TEXT    NOT NULL
) STRICT;

-- How far the order writer has come: every record up to and including `position` is settled.
CREATE TABLE order_log_commit (
    consumer TEXT    PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Records that can never succeed, kept for people to look at.
CREATE TABLE dead_letters (
    position   INTEGER PRIMARY KEY,
    payload    TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
