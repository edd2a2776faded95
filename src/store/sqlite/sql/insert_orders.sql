-- Inserts every new order of a batch at once. ?1: the orders as a JSON array of objects named like the columns.
INSERT INTO orders (
    id, request_id, user_id, item_id, promo_id, pool_id, quantity, price_minor, status, reason, created_at, pay_before
)
SELECT
    o.value ->> 'id', o.value ->> 'request_id', o.value ->> 'user_id', o.value ->> 'item_id', o.value ->> 'promo_id',
    o.value ->> 'pool_id', o.value ->> 'quantity', o.value ->> 'price_minor', o.value ->> 'status',
    o.value ->> 'reason', o.value ->> 'created_at', o.value ->> 'pay_before'
FROM json_each(?1) AS o
