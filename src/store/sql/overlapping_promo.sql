-- A live promo of item ? that starts before ? and ends after ?.
SELECT id
FROM promos
WHERE item_id = ? AND stage IN ('published', 'paused') AND starts_at < ? AND ends_at > ?
ORDER BY starts_at
LIMIT 1
