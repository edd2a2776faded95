-- Which ended promos still wait for a payment: a look into this index for each, however many orders there are.
CREATE INDEX orders_by_promo ON orders (promo_id, status);
