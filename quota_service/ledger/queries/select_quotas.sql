-- The quotas of an exam.
-- $1 exam, text
SELECT venue, subject, capacity, confirmed
FROM   quotas
WHERE  exam = $1
ORDER  BY venue, subject
