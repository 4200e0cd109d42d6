-- A page of the codes of a set-aside, by id.
-- $1 exam, text
-- $2 set_aside, text
-- $3 after this id, text
-- $4 limit, integer
SELECT id,
       uses_max,
       note,
       made_at,
       revoked_at
FROM   set_aside_codes
WHERE  exam = $1
AND    set_aside = $2
AND    id > $3
ORDER  BY id
LIMIT  $4
