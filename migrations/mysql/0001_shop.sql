-- Times are integers: milliseconds since the Unix epoch, UTC. Money is in minor units. Text is compared byte by byte.
-- Ids that are text, and stored words, are ASCII: an index over them is a quarter as wide.

CREATE TABLE users (
    id            BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    email         VARCHAR(254) NOT NULL,
    password_hash VARCHAR(255) NOT NULL,
    display_name  VARCHAR(255) NOT NULL,
    role          VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL CHECK (role IN ('shopper', 'admin')),
    created_at    BIGINT       NOT NULL,
    UNIQUE KEY users_by_email (email)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE items (
    id          BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    title       VARCHAR(255) NOT NULL,
    description TEXT         NOT NULL,
    image_url   TEXT         NOT NULL,
    price_minor BIGINT       NOT NULL CHECK (price_minor >= 0),
    created_at  BIGINT       NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE promos (
    id                BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    item_id           BIGINT       NOT NULL,
    title             VARCHAR(255) NOT NULL,
    price_minor       BIGINT       NOT NULL CHECK (price_minor >= 0),
    stock             BIGINT       NOT NULL CHECK (stock > 0),
    per_user_limit    BIGINT       NOT NULL CHECK (per_user_limit > 0),
    starts_at         BIGINT       NOT NULL,
    ends_at           BIGINT       NOT NULL,
    rate_per_s        BIGINT       NOT NULL,
    max_active        BIGINT       NOT NULL,
    pass_ttl_ms       BIGINT       NOT NULL,
    payment_window_ms BIGINT       NOT NULL,
    seed              BINARY(32)   NOT NULL,
    stage             VARCHAR(16)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL
                      CHECK (stage IN ('draft', 'published', 'paused', 'ended')),
    created_at        BIGINT       NOT NULL,
    KEY promos_by_item (item_id, starts_at),
    KEY promos_by_stage (stage),
    CONSTRAINT promos_end_after_their_start CHECK (ends_at > starts_at),
    CONSTRAINT promos_have_an_item FOREIGN KEY (item_id) REFERENCES items (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- A pool is the stock an order draws on: 'item:17' or 'promo:3'. Its row is what the order writer locks.
-- `epoch` is the building of its ledger that sells from it; an order that an earlier ledger reserved is void.
CREATE TABLE pools (
    id      VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    initial BIGINT      NOT NULL CHECK (initial >= 0),
    sold    BIGINT      NOT NULL DEFAULT 0 CHECK (sold >= 0),
    epoch   BIGINT      NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    CONSTRAINT pools_never_oversell CHECK (sold <= initial)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- No foreign keys: each inserted order would take a shared lock on the rows of its user, item, promo and pool, beside
-- the writer's own locks and in another order. The writer checks under the pools' locks that users, items and pools are
-- there, and nothing ever deletes one.
CREATE TABLE orders (
    id          CHAR(36)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    request_id  CHAR(36)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    user_id     BIGINT      NOT NULL,
    item_id     BIGINT      NOT NULL,
    promo_id    BIGINT,
    pool_id     VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    quantity    BIGINT      NOT NULL CHECK (quantity > 0),
    price_minor BIGINT      NOT NULL,
    status      VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL
                CHECK (status IN ('awaiting_payment', 'paid', 'cancelled', 'expired', 'rejected')),
    reason      VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin,
    created_at  BIGINT      NOT NULL,
    pay_before  BIGINT,
    paid_at     BIGINT,
    UNIQUE KEY orders_by_request (user_id, request_id),
    KEY orders_by_user (user_id, id),
    KEY orders_by_pool (pool_id, user_id),
    KEY orders_to_pay (status, pay_before)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Changes of posted orders that the ledger has not heard of yet. Written in the transaction that makes the change,
-- deleted once the ledger has applied it: at least once, and the ledger applies each order's closing once.
CREATE TABLE ledger_outbox (
    id       BIGINT      NOT NULL AUTO_INCREMENT PRIMARY KEY,
    order_id CHAR(36)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    pool_id  VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    user_id  BIGINT      NOT NULL,
    closing  VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL
             CHECK (closing IN ('paid', 'cancelled', 'expired')),
    UNIQUE KEY ledger_outbox_by_order (order_id),
    KEY ledger_outbox_by_pool (pool_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Who does a job that one node at a time should do, and until when.
CREATE TABLE leases (
    name       VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    holder     VARCHAR(128) NOT NULL,
    expires_at BIGINT       NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
