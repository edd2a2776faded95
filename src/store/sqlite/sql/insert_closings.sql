-- Tells the ledger of closed orders. ?1: the orders as a JSON array, ?2: how they were closed.
INSERT INTO ledger_outbox (order_id, pool_id, user_id, closing)
SELECT b.value ->> 'order_id', b.value ->> 'pool_id', b.value ->> 'user_id', ?2
FROM json_each(?1) AS b
