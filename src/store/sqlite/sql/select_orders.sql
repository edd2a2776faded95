-- A page of user ?1's orders, newest first: those before ?2 (or from the newest, if null), at most ?3.
SELECT id, request_id, user_id, item_id, promo_id, quantity, price_minor, status, reason, created_at, pay_before, paid_at
FROM orders
WHERE user_id = ?1 AND id < COALESCE(?2, 'g') -- after every hexadecimal digit
ORDER BY id DESC
LIMIT ?3
