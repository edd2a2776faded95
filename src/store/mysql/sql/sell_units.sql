-- Adds to what each pool has sold; less than nothing: gives units back. ?: a JSON array of {"pool_id", "units"}, each
-- pool once.
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
    pool_id VARCHAR(32) CHARACTER SET ascii PATH '$.pool_id',
    units   BIGINT                          PATH '$.units'
)) AS b
STRAIGHT_JOIN pools AS p FORCE INDEX (PRIMARY) ON p.id = b.pool_id
SET p.sold = p.sold + b.units
