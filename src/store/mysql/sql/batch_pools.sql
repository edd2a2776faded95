-- The pools of a batch (?: a JSON array of their ids), with whose units they are.
-- An item's own pool has no promo, and so no limit.
SELECT p.id, p.initial, p.sold, p.epoch, pr.item_id AS promo_item, pr.per_user_limit
FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(32) CHARACTER SET ascii PATH '$')) AS b
STRAIGHT_JOIN pools AS p ON p.id = b.id
LEFT JOIN promos AS pr ON p.id LIKE 'promo:%' AND pr.id = CAST(SUBSTRING(p.id, 7) AS SIGNED)
