-- Adds to what each pool has sold; less than nothing: gives units back. ?1: a JSON array of {"pool_id", "units"}, each
-- pool once.
UPDATE pools
SET sold = sold + b.value ->> 'units'
FROM json_each(?1) AS b
WHERE pools.id = b.value ->> 'pool_id'
