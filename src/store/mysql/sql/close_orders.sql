-- Closes posted orders. ?: the orders as a JSON array of {"order_id", …}, their new status, and the time if paid.
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(36) CHARACTER SET ascii PATH '$.order_id')) AS b
STRAIGHT_JOIN orders AS o FORCE INDEX (PRIMARY) ON o.id = b.id
SET o.status = ?, o.paid_at = ?
WHERE o.status = 'awaiting_payment'
