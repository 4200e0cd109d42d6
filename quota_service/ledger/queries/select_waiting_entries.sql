-- A page of the entries that wait, by number.
-- $1 exam, text
-- $2 after this number, bigint
-- $3 limit, integer
SELECT *
FROM   waiting_list_entries
WHERE  exam = $1
AND    state = 'waiting'
AND    number > $2
ORDER  BY number
LIMIT  $3
