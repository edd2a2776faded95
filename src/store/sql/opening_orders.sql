-- The orders of pool ? that its ledger must know again: all if ?, else those that await payment or are not older than ?.
-- Oldest first.
SELECT id, request_id, user_id, quantity, status, reason, created_at
FROM orders
WHERE pool_id = ? AND (? OR status = 'awaiting_payment' OR created_at >= ?)
ORDER BY created_at, id
