-- A page of promos: those after id ?1, at most ?2; drafts only if ?3.
SELECT *
FROM promos
WHERE id > ?1 AND (?3 OR stage <> 'draft')
ORDER BY id
LIMIT ?2
