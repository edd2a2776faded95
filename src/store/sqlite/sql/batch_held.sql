-- Units in live orders, for every user and promo pool of a batch (?1: its reservations as JSON).
-- DISTINCT: a shopper may be in the batch twice, their orders count once.
SELECT o.pool_id, o.user_id, SUM(o.quantity) AS units
FROM (
    SELECT DISTINCT b.value ->> 'pool' AS pool_id, b.value ->> 'user_id' AS user_id
    FROM json_each(?1) AS b
    WHERE b.value ->> 'pool' LIKE 'promo:%'
) AS wanted
CROSS JOIN orders AS o ON o.pool_id = wanted.pool_id AND o.user_id = wanted.user_id
WHERE o.status IN ('awaiting_payment', 'paid')
GROUP BY o.pool_id, o.user_id
