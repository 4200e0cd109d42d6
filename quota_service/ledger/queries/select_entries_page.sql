-- A page of the entries of a waiting list, by number.
-- $1 exam, text
-- $2 states, text[]; null for all
-- $3 candidate, text; null for all
-- $4 after this number, bigint
-- $5 limit, integer
SELECT *
FROM   waiting_list_entries
WHERE  exam = $1
AND    ($2::text[] IS NULL OR state = ANY ($2::text[]))
AND    ($3::text IS NULL OR candidate = $3::text)
AND    number > $4
ORDER  BY number
LIMIT  $5
