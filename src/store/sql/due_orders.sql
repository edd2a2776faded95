-- Posted orders whose payment window is over at ?, the longest overdue first, at most ?.
SELECT id AS order_id, pool_id, user_id, quantity
FROM orders
WHERE status = 'awaiting_payment' AND pay_before <= ?
ORDER BY pay_before
LIMIT ?
