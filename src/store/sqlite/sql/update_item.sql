-- Changes what is not null.
UPDATE items
SET
    title = COALESCE(?2, title),
    description = COALESCE(?3, description),
    image_url = COALESCE(?4, image_url),
    price_minor = COALESCE(?5, price_minor)
WHERE id = ?1
