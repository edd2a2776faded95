-- Those users of a batch (?1: its reservations as JSON) who exist.
SELECT id FROM users WHERE id IN (SELECT b.value ->> 'user_id' FROM json_each(?1) AS b)
