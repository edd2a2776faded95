-- Pool ?1, with the units that cancelled and expired orders return to it and the ledger may not have heard of.
SELECT p.id, p.initial, p.sold, p.epoch, (
    SELECT COALESCE(SUM(o.quantity), 0)
    FROM ledger_outbox AS c JOIN orders AS o ON o.id = c.order_id
    WHERE c.pool_id = p.id AND c.closing <> 'paid'
) AS units_returning
FROM pools AS p
WHERE p.id = ?1
