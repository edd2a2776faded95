-- Locks pools (?: a JSON array of their ids) in the order of the array, which is the order of the lookups.
-- FORCE INDEX: in a small table the planner might rather scan, and so lock, every pool. The list is a table of a query of
-- its own, because MySQL refuses to lock in a prepared statement that names JSON_TABLE beside the table to lock.
SELECT p.id, p.initial, p.sold, p.epoch
FROM (SELECT id FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(32) CHARACTER SET ascii PATH '$')) AS t) AS b
STRAIGHT_JOIN pools AS p FORCE INDEX (PRIMARY) ON p.id = b.id
FOR UPDATE
