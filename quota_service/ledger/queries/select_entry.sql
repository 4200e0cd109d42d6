-- One entry of a waiting list.
-- $1 exam, text
-- $2 serial, text
SELECT *
FROM   waiting_list_entries
WHERE  exam = $1
AND    serial = $2
