-- Ends the entries of an exam that wait, since it has no waiting list any more. The list is locked
-- first.
-- $1 exam, text
WITH locked AS (
    SELECT exam
    FROM   waiting_lists
    WHERE  exam = $1
    FOR    NO KEY UPDATE
)
UPDATE waiting_list_entries e
SET    state    = 'over',
       ended_at = clock_timestamp()
FROM   locked
WHERE  e.exam = locked.exam
AND    e.state = 'waiting'
