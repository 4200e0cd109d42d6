-- The ids of exams that are archived.
SELECT id
FROM   exams
WHERE  archived_at IS NOT NULL
