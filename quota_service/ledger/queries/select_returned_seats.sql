-- How many seats of quotas wait for the next allocation, as far as the journal is drained.
-- $1 exam, text
SELECT venue,
       subject,
       seats
FROM   returned_seats
WHERE  exam = $1
AND    seats > 0
