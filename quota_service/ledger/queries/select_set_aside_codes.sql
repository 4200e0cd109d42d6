-- A page of the codes of a set-aside, in the order in which they were made.
-- $1 exam, text
-- $2 set_aside, text
-- $3 after this number, bigint
-- $4 limit, integer
SELECT id,
       number,
       uses_max,
       note,
       made_at,
       revoked_at
FROM   set_aside_codes
WHERE  exam = $1
AND    set_aside = $2
AND    number > $3
ORDER  BY number
LIMIT  $4
