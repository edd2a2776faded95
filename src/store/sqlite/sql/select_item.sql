SELECT i.id, i.title, i.description, i.image_url, i.price_minor, p.initial - p.sold AS stock, i.created_at
FROM items AS i
JOIN pools AS p ON p.id = 'item:' || i.id
WHERE i.id = ?1
