-- The orders of a batch (?1: its reservations as JSON) that are there already, by order or by request.
-- CROSS JOIN keeps the small side outside, so that every lookup goes through an index.
SELECT o.id, o.user_id, o.request_id, o.status, o.reason, o.pay_before
FROM json_each(?1) AS b CROSS JOIN orders AS o ON o.id = b.value ->> 'order_id'
UNION
SELECT o.id, o.user_id, o.request_id, o.status, o.reason, o.pay_before
FROM json_each(?1) AS b CROSS JOIN orders AS o
    ON o.user_id = b.value ->> 'user_id' AND o.request_id = b.value ->> 'request_id'
