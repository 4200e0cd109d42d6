-- Records offers that Redis has made to entries which wait, fenced by the epoch of the leader. Answers the
-- entries that have them now.
-- $1 exam, text
-- $2 leader_epoch, bigint
-- $3 serials of entries, text[]; the rest by position
-- $4 reservations, text[]
-- $5 deadlines, timestamptz[]
WITH led AS MATERIALIZED (
    SELECT exam
    FROM   waiting_lists
    WHERE  exam = $1
    AND    leader_epoch = $2
    AND    lease_until > clock_timestamp()
    FOR    NO KEY UPDATE
)
UPDATE waiting_list_entries e
SET    state          = 'offered',
       offers         = e.offers + 1,
       reservation    = made.reservation,
       offer_deadline = made.deadline,
       offered_at     = clock_timestamp()
FROM   led, unnest($3::text[], $4::text[], $5::timestamptz[]) AS made (serial, reservation, deadline)
WHERE  e.exam = led.exam
AND    e.serial = made.serial
AND    e.state = 'waiting'
RETURNING e.serial
