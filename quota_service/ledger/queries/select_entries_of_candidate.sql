-- The entries of a candidate in the waiting list of an exam, newest first.
-- $1 exam, text
-- $2 candidate, text
SELECT *
FROM   waiting_list_entries
WHERE  exam = $1
AND    candidate = $2
ORDER  BY number DESC
LIMIT  200
