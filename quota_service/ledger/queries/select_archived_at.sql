-- When an exam was archived, if it was.
-- $1 exam, text
SELECT archived_at
FROM   exams
WHERE  id = $1
AND    archived_at IS NOT NULL
