-- A page of promos: those after id ?, drafts only if ?, at most ?.
SELECT *
FROM promos
WHERE id > ? AND (? OR stage <> 'draft')
ORDER BY id
LIMIT ?
