-- Records offers that Redis has made to entries which wait, fenced by the epoch of the leader. Answers the
-- entries that have them now. Each is looked up by its key: the index of all that wait is not for that.
-- $1 exam, text
-- $2 leader_epoch, bigint
-- $3 serials of entries, text[]; the rest by position
-- $4 reservations, text[]
-- $5 deadlines, timestamptz[]
-- $6 lease, interval: it is renewed
WITH led AS (
    UPDATE waiting_lists
    SET    lease_until = greatest(lease_until, clock_timestamp() + $6::interval)
    WHERE  exam = $1
    AND    leader_epoch = $2
    AND    lease_until > clock_timestamp()
    RETURNING exam
)
UPDATE waiting_list_entries e
SET    state          = 'offered',
       offers         = e.offers + 1,
       reservation    = made.reservation,
       offer_deadline = made.deadline,
       offered_at     = clock_timestamp()
FROM   led, unnest($3::text[], $4::text[], $5::timestamptz[]) AS made (serial, reservation, deadline),
       LATERAL (
           SELECT w.ctid AS place
           FROM   waiting_list_entries w
           WHERE  w.exam = led.exam
           AND    w.serial = made.serial
           FOR    UPDATE
       ) AS found
WHERE  e.ctid = found.place
AND    e.state = 'waiting'
RETURNING e.serial
