-- Closes posted orders. ?1: the orders as a JSON array of {"order_id", …}, ?2: their new status, ?3: the time if paid.
UPDATE orders
SET status = ?2, paid_at = ?3
WHERE id IN (SELECT b.value ->> 'order_id' FROM json_each(?1) AS b) AND status = 'awaiting_payment'
