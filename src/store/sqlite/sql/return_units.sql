-- Gives the units of closed orders back to their pools. ?1: the orders as a JSON array of {"pool_id", "quantity", …}.
UPDATE pools
SET sold = sold - returned.units
FROM (
    SELECT b.value ->> 'pool_id' AS pool_id, SUM(b.value ->> 'quantity') AS units
    FROM json_each(?1) AS b
    GROUP BY 1
) AS returned
WHERE pools.id = returned.pool_id
