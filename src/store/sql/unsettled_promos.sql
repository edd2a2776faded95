-- Ended promos of which an order still awaits its payment.
SELECT *
FROM promos
WHERE stage = 'ended' AND id IN (SELECT promo_id FROM orders WHERE status = 'awaiting_payment')
ORDER BY id
