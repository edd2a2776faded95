-- Order ?, if it is user ?'s.
SELECT id, request_id, user_id, item_id, promo_id, quantity, price_minor, status, reason, created_at, pay_before, paid_at
FROM orders
WHERE id = ? AND user_id = ?
