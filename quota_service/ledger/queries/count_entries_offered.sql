-- How many entries that want a seat which one wants too were offered seats within a day; null where
-- none ever was.
-- $1 exam, text
-- $2 its subjects, text[]
-- $3 its venues, text[]
SELECT CASE
           WHEN count(*) > 0 THEN count(*) FILTER (WHERE offered_at > now() - interval '1 day')
       END AS count
FROM   waiting_list_entries
WHERE  exam = $1
AND    offered_at IS NOT NULL
AND    subjects && $2::text[]
AND    venues && $3::text[]
