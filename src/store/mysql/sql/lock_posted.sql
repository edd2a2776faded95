-- Locks those orders (?: a JSON array of {"order_id", …}) that still await their payment, in the order of the array.
-- The list is a table of a query of its own for the same reason as in lock_pools.sql.
SELECT o.id AS order_id, o.pool_id, o.user_id, o.quantity
FROM (SELECT id FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(36) CHARACTER SET ascii PATH '$.order_id')) AS t) AS b
STRAIGHT_JOIN orders AS o FORCE INDEX (PRIMARY) ON o.id = b.id
WHERE o.status = 'awaiting_payment'
FOR UPDATE
