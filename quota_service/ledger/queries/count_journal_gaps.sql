-- How many gaps of journals were found within the last day.
SELECT count(*) AS count
FROM   journal_gaps
WHERE  found_at > now() - interval '1 day'
