-- Gives the lease to holder ? until ?, if it is named ?, and is the holder's (?) or has run out at ?. Changes one row, or
-- none.
UPDATE leases
SET holder = ?, expires_at = ?
WHERE name = ? AND (holder = ? OR expires_at <= ?)
