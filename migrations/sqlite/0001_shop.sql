-- Times are integers: milliseconds since the Unix epoch, UTC. Money is in minor units.

CREATE TABLE users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    email         TEXT    NOT NULL UNIQUE,
    password_hash TEXT    NOT NULL,
    display_name  TEXT    NOT NULL,
    role          TEXT    NOT NULL CHECK (role IN ('shopper', 'admin')),
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE items (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    title       TEXT    NOT NULL,
    description TEXT    NOT NULL,
    image_url   TEXT    NOT NULL,
    price_minor INTEGER NOT NULL CHECK (price_minor >= 0),
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE promos (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    item_id           INTEGER NOT NULL REFERENCES items (id),
    title             TEXT    NOT NULL,
    price_minor       INTEGER NOT NULL CHECK (price_minor >= 0),
    stock             INTEGER NOT NULL CHECK (stock > 0),
    per_user_limit    INTEGER NOT NULL CHECK (per_user_limit > 0),
    starts_at         INTEGER NOT NULL,
    ends_at           INTEGER NOT NULL CHECK (ends_at > starts_at),
    rate_per_s        INTEGER NOT NULL,
    max_active        INTEGER NOT NULL,
    pass_ttl_ms       INTEGER NOT NULL,
    payment_window_ms INTEGER NOT NULL,
    seed              BLOB    NOT NULL CHECK (length(seed) = 32),
    stage             TEXT    NOT NULL CHECK (stage IN ('draft', 'published', 'paused', 'ended')),
    created_at        INTEGER NOT NULL
) STRICT;

CREATE INDEX promos_by_item ON promos (item_id, starts_at);
CREATE INDEX promos_by_stage ON promos (stage);

-- A pool is the stock an order draws on: 'item:17' or 'promo:3'. Its row is what the order writer locks.
CREATE TABLE pools (
    id      TEXT    PRIMARY KEY,
    initial INTEGER NOT NULL CHECK (initial >= 0),
    sold    INTEGER NOT NULL DEFAULT 0 CHECK (sold >= 0 AND sold <= initial)
) STRICT, WITHOUT ROWID;

CREATE TABLE orders (
    id                TEXT    PRIMARY KEY,
    request_id        TEXT    NOT NULL,
    user_id           INTEGER NOT NULL REFERENCES users (id),
    item_id           INTEGER NOT NULL REFERENCES items (id),
    promo_id          INTEGER REFERENCES promos (id),
    pool_id           TEXT    NOT NULL REFERENCES pools (id),
    quantity          INTEGER NOT NULL CHECK (quantity > 0),
    price_minor       INTEGER NOT NULL,
    status            TEXT    NOT NULL CHECK (status IN ('awaiting_payment', 'paid', 'cancelled', 'expired', 'rejected')),
    reason            TEXT,
    created_at        INTEGER NOT NULL,
    pay_before        INTEGER,
    paid_at           INTEGER,
    UNIQUE (user_id, request_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX orders_by_user ON orders (user_id, id);
CREATE INDEX orders_by_pool ON orders (pool_id, user_id);
CREATE INDEX orders_to_pay ON orders (pay_before) WHERE status = 'awaiting_payment';

-- Changes of posted orders that the ledger has not heard of yet. Written in the transaction that makes the change,
-- deleted once the ledger has applied it: at least once, and the ledger applies each order's closing once.
CREATE TABLE ledger_outbox (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id TEXT    NOT NULL UNIQUE,
    pool_id  TEXT    NOT NULL,
    user_id  INTEGER NOT NULL,
    closing  TEXT    NOT NULL CHECK (closing IN ('paid', 'cancelled', 'expired'))
) STRICT;
