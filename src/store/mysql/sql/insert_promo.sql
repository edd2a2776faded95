-- Inserts a draft, unless its item does not exist (the last ? is its id).
INSERT INTO promos (
    title, price_minor, stock, per_user_limit, starts_at, ends_at, rate_per_s, max_active, pass_ttl_ms,
    payment_window_ms, seed, created_at, stage, item_id
)
SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'draft', id
FROM items
WHERE id = ?
