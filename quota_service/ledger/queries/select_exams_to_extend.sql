-- The exams with an extension that is not ended.
SELECT DISTINCT exam
FROM   hold_extensions
WHERE  ended_at IS NULL
