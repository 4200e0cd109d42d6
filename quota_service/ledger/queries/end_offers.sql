-- Ends entries whose offer has ended by what the journal tells of its hold, fenced by the epoch of the leader.
-- Answers them with their new states.
-- $1 exam, text
-- $2 leader_epoch, bigint
WITH led AS MATERIALIZED (
    SELECT exam
    FROM   waiting_lists
    WHERE  exam = $1
    AND    leader_epoch = $2
    AND    lease_until > clock_timestamp()
    FOR    NO KEY UPDATE
)
UPDATE waiting_list_entries e
SET    state    = CASE r.state
           WHEN 'released' THEN 'declined'
           WHEN 'expired' THEN 'missed'
           ELSE 'served'
       END,
       ended_at = clock_timestamp()
FROM   led, reservations r
WHERE  e.exam = led.exam
AND    e.state = 'offered'
AND    r.id = e.reservation
AND    r.state NOT IN ('held', 'confirming')
RETURNING e.serial, e.number, e.state
