-- What the drained journal knows of a candidate's reservations, newest first.
-- $1 exam, text
-- $2 candidate, text
SELECT id, record
FROM   reservations
WHERE  exam = $1
AND    candidate = $2
ORDER  BY created_at DESC, id
LIMIT  200
