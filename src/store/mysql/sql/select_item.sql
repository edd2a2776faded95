SELECT i.id, i.title, i.description, i.image_url, i.price_minor, p.initial - p.sold AS stock, i.created_at
FROM items AS i
STRAIGHT_JOIN pools AS p ON p.id = CONVERT(CONCAT('item:', i.id) USING ascii)
WHERE i.id = ?
