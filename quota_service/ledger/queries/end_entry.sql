-- Ends an entry of a waiting list that is in a state, by its last offer; answers it. The list is locked
-- first.
-- $1 exam, text
-- $2 serial, text
-- $3 state, text
-- $4 reservation of its last offer, text; null where it had none
-- $5 how it ends, text
WITH locked AS (
    SELECT exam
    FROM   waiting_lists
    WHERE  exam = $1
    FOR    NO KEY UPDATE
)
UPDATE waiting_list_entries e
SET    state    = $5,
       ended_at = clock_timestamp()
FROM   locked
WHERE  e.exam = locked.exam
AND    e.serial = $2
AND    e.state = $3
AND    e.reservation IS NOT DISTINCT FROM $4
RETURNING e.*
