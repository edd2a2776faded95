-- Ended promos of which an order still awaits its payment.
SELECT *
FROM promos
WHERE stage = 'ended'
  AND EXISTS (SELECT 1 FROM orders WHERE orders.promo_id = promos.id AND orders.status = 'awaiting_payment')
ORDER BY id
