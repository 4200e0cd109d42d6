-- Lets entries wait again whose offers are in no store, fenced by the epoch of the leader; answers them.
-- $1 exam, text
-- $2 leader_epoch, bigint
-- $3 serials, text[]
WITH led AS MATERIALIZED (
    SELECT exam
    FROM   waiting_lists
    WHERE  exam = $1
    AND    leader_epoch = $2
    AND    lease_until > clock_timestamp()
    FOR    NO KEY UPDATE
)
UPDATE waiting_list_entries e
SET    state = 'waiting'
FROM   led
WHERE  e.exam = led.exam
AND    e.serial = ANY ($3::text[])
AND    e.state = 'offered'
RETURNING e.*
