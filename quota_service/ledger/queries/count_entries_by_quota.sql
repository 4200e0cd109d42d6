-- How many entries wait for each quota of an exam that any wait for.
-- $1 exam, text
SELECT venue, subject, count(*)
FROM   waiting_list_entries e
CROSS  JOIN LATERAL unnest(e.venues) AS v (venue)
CROSS  JOIN LATERAL unnest(e.subjects) AS s (subject)
WHERE  e.exam = $1
AND    e.state = 'waiting'
GROUP  BY venue, subject
ORDER  BY venue, subject
