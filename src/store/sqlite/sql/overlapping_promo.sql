-- A live promo of item ?1 whose time meets the half-open interval from ?2 to ?3.
SELECT id
FROM promos
WHERE item_id = ?1 AND stage IN ('published', 'paused') AND starts_at < ?3 AND ends_at > ?2
ORDER BY starts_at
LIMIT 1
