-- Moves bookings to another venue, each under the attempt of its change; answers those that were still
-- booked at the venue they come from.
-- $1 reservations, text[]; the rest by position
-- $2 venues from, text[]
-- $3 venues to, text[]
-- $4 attempts, text[]
-- $5 epochs, bigint[]: of the step in Redis that took the new seats
-- $6 versions, bigint[]
WITH wanted AS (
    SELECT *
    FROM   unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])
           AS new (reservation, venue_from, venue_to, attempt, epoch, version)
),
locked AS (
    SELECT b.reservation
    FROM   bookings b
    JOIN   wanted USING (reservation)
    ORDER  BY b.reservation
    FOR    NO KEY UPDATE OF b
)
UPDATE bookings b
SET    venue         = wanted.venue_to,
       venue_changes = b.venue_changes + 1,
       last_change   = wanted.attempt,
       set_aside     = '',
       step_epoch    = wanted.epoch,
       step_version  = wanted.version
FROM   wanted
JOIN   locked USING (reservation)
WHERE  b.reservation = wanted.reservation
AND    b.venue = wanted.venue_from
AND    b.state = 'confirmed'
RETURNING b.reservation
