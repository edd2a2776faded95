-- Units in a shopper's live orders for a pool.
SELECT CAST(COALESCE(SUM(quantity), 0) AS SIGNED)
FROM orders
WHERE pool_id = ? AND user_id = ? AND status IN ('awaiting_payment', 'paid')
