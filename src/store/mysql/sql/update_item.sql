-- Changes what is not null.
UPDATE items
SET
    title = COALESCE(?, title),
    description = COALESCE(?, description),
    image_url = COALESCE(?, image_url),
    price_minor = COALESCE(?, price_minor)
WHERE id = ?
