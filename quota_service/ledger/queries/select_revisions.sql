-- The revisions of the definitions that are stored.
-- $1 exams, text[]
SELECT id, revision
FROM   exams
WHERE  id = ANY ($1::text[])
