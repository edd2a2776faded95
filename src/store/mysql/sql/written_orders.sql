-- The orders of a batch that are there already, by order (?: a JSON array of order ids) or by request (?: a JSON array of
-- {"user_id", "request_id"}). STRAIGHT_JOIN keeps the small side outside, so that every lookup goes through an index.
SELECT o.id, o.user_id, o.request_id, o.status, o.reason, o.pay_before
FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(36) CHARACTER SET ascii PATH '$')) AS b
STRAIGHT_JOIN orders AS o ON o.id = b.id
UNION
SELECT o.id, o.user_id, o.request_id, o.status, o.reason, o.pay_before
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    user_id    BIGINT                       PATH '$.user_id',
    request_id CHAR(36) CHARACTER SET ascii PATH '$.request_id'
)) AS b
STRAIGHT_JOIN orders AS o ON o.user_id = b.user_id AND o.request_id = b.request_id
