-- Ended promos of which an order still awaits its payment. Written so that there is one look into the index for each of them:
-- as EXISTS or IN, servers may read all unpaid orders instead, or, going by old statistics, the whole table.
SELECT *
FROM promos
WHERE stage = 'ended'
  AND (
    SELECT 1
    FROM orders FORCE INDEX (orders_by_promo)
    WHERE orders.promo_id = promos.id AND orders.status = 'awaiting_payment'
    LIMIT 1
  ) = 1
ORDER BY id
