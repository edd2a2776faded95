-- The pools of a batch (?1: its reservations as JSON) in the order of their ids, with whose units they are.
-- An item's own pool has no promo, and so no limit.
SELECT p.id, p.initial, p.sold, p.epoch, pr.item_id AS promo_item, pr.per_user_limit
FROM pools AS p
LEFT JOIN promos AS pr ON p.id LIKE 'promo:%' AND pr.id = CAST(substr(p.id, 7) AS INTEGER)
WHERE p.id IN (SELECT b.value ->> 'pool' FROM json_each(?1) AS b)
ORDER BY p.id
