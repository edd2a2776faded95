-- Units in live orders, for every user and limited pool of a batch (?: a JSON array of {"pool_id", "user_id"}, each pair
-- once).
SELECT o.pool_id, o.user_id, CAST(SUM(o.quantity) AS SIGNED) AS units
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    pool_id VARCHAR(32) CHARACTER SET ascii PATH '$.pool_id',
    user_id BIGINT                          PATH '$.user_id'
)) AS b
STRAIGHT_JOIN orders AS o ON o.pool_id = b.pool_id AND o.user_id = b.user_id
WHERE o.status IN ('awaiting_payment', 'paid')
GROUP BY o.pool_id, o.user_id
