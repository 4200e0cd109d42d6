-- The definition of an exam that is archived.
-- $1 exam, text
SELECT definition::text AS definition, revision
FROM   exams
WHERE  id = $1
AND    archived_at IS NOT NULL
