-- What of an exam is not at its end: refunds whose seats Redis may not have back, journal entries a
-- person has to look at.
-- $1 exam, text
SELECT DISTINCT 'refunds' AS what
FROM   refunds
WHERE  exam = $1
AND    seats_returned_at IS NULL
UNION  ALL
SELECT DISTINCT 'journal'
FROM   journal_quarantine
WHERE  exam = $1
