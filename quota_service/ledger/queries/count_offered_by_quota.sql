-- How many entries that wanted a quota were offered seats within a day, for each quota that one which
-- ever was offered any wanted.
-- $1 exam, text
SELECT venue, subject, count(*) FILTER (WHERE offered_at > now() - interval '1 day') AS within_a_day
FROM   waiting_list_entries e
CROSS  JOIN LATERAL unnest(e.venues) AS v (venue)
CROSS  JOIN LATERAL unnest(e.subjects) AS s (subject)
WHERE  e.exam = $1
AND    e.offered_at IS NOT NULL
GROUP  BY venue, subject
