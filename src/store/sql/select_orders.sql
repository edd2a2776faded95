-- A page of user ?'s orders, newest first: those before ? (or from the newest, if null), at most ?.
SELECT id, request_id, user_id, item_id, promo_id, quantity, price_minor, status, reason, created_at, pay_before, paid_at
FROM orders
WHERE user_id = ? AND id < COALESCE(?, 'g') -- after every hexadecimal digit
ORDER BY id DESC
LIMIT ?
