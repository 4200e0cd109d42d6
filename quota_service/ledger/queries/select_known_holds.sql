-- Which of some reservations the journal tells of, with their records.
-- $1 ids, text[]
SELECT id, record
FROM   reservations
WHERE  id = ANY ($1::text[])
