-- Posted orders whose payment window is over at ?1, the longest overdue first, at most ?2.
SELECT id AS order_id, pool_id, user_id, quantity
FROM orders
WHERE status = 'awaiting_payment' AND pay_before <= ?1
ORDER BY pay_before
LIMIT ?2
