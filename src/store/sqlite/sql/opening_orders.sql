-- The orders of pool ?1 that its ledger must know again: all if ?2, else those that await payment or are not older
-- than ?3. Oldest first.
SELECT id, request_id, user_id, quantity, status, reason, created_at
FROM orders
WHERE pool_id = ?1 AND (?2 OR status = 'awaiting_payment' OR created_at >= ?3)
ORDER BY created_at, id
