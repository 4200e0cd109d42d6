-- Some entries of a waiting list.
-- $1 exam, text
-- $2 serials, text[]
SELECT *
FROM   waiting_list_entries
WHERE  exam = $1
AND    serial = ANY ($2::text[])
