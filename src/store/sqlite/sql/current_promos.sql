-- For each item of ?1 (a JSON array of ids) the first promo that is not over at ?2. Live promos of an item never
-- overlap, so this is the ongoing one if there is one, and else the next.
SELECT *
FROM (
    SELECT promos.*, ROW_NUMBER() OVER (PARTITION BY item_id ORDER BY starts_at, id) AS nth
    FROM promos
    WHERE item_id IN (SELECT value FROM json_each(?1)) AND stage IN ('published', 'paused') AND ends_at > ?2
)
WHERE nth = 1
ORDER BY item_id
