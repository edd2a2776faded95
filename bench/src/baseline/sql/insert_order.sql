INSERT INTO orders (
    id, request_id, user_id, item_id, promo_id, pool_id, quantity, price_minor, status, created_at, pay_before
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
