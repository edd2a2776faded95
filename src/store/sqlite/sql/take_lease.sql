-- Gives lease ?1 to holder ?2 until ?4, unless somebody else has it at ?3. Changes one row, or none.
INSERT INTO leases (name, holder, expires_at) VALUES (?1, ?2, ?4)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
WHERE leases.holder = excluded.holder OR leases.expires_at <= ?3
