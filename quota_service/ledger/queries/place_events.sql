-- Places events behind a step of their exam, which all that led to them came before.
-- $1 ids, bigint[]
-- $2 versions, bigint[]; by position
UPDATE events e
SET    version = placed.version
FROM   unnest($1::bigint[], $2::bigint[]) AS placed (id, version)
WHERE  e.id = placed.id
AND    e.version IS NULL
