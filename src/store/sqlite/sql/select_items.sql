-- A page of items: those after id ?1, at most ?2. The stock is what the item's own pool has not sold.
SELECT i.id, i.title, i.description, i.image_url, i.price_minor, p.initial - p.sold AS stock, i.created_at
FROM items AS i
JOIN pools AS p ON p.id = 'item:' || i.id
WHERE i.id > ?1
ORDER BY i.id
LIMIT ?2
