-- Forgets closings. ?: a JSON array of their ids.
DELETE c
FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT PATH '$')) AS b
STRAIGHT_JOIN ledger_outbox AS c FORCE INDEX (PRIMARY) ON c.id = b.id
