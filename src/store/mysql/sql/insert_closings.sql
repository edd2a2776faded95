-- Tells the ledger of closed orders. ?: how they were closed, and the orders as a JSON array.
INSERT INTO ledger_outbox (order_id, pool_id, user_id, closing)
SELECT b.order_id, b.pool_id, b.user_id, ?
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    order_id CHAR(36)    CHARACTER SET ascii PATH '$.order_id',
    pool_id  VARCHAR(32) CHARACTER SET ascii PATH '$.pool_id',
    user_id  BIGINT                          PATH '$.user_id'
)) AS b
