-- What of an exam is not at its end for people: money that is due back.
-- $1 exam, text
SELECT 'refunds_due' AS what
FROM   refunds_due
WHERE  exam = $1
AND    settled_at IS NULL
LIMIT  1
