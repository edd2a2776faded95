-- Those users of a batch (?: a JSON array of their ids) who exist.
SELECT u.id
FROM JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT PATH '$')) AS b
STRAIGHT_JOIN users AS u ON u.id = b.id
