-- Inserts a draft, unless its item does not exist.
INSERT INTO promos (
    item_id, title, price_minor, stock, per_user_limit, starts_at, ends_at, rate_per_s, max_active, pass_ttl_ms,
    payment_window_ms, seed, stage, created_at
)
SELECT id, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 'draft', ?13
FROM items
WHERE id = ?1
