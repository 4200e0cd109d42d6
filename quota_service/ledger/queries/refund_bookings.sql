-- Ends bookings that are refunded; answers those that were still booked.
-- $1 reservations, text[]
WITH locked AS (
    SELECT reservation
    FROM   bookings
    WHERE  reservation = ANY ($1::text[])
    ORDER  BY reservation
    FOR    NO KEY UPDATE
)
UPDATE bookings b
SET    state = 'refunded'
FROM   locked
WHERE  b.reservation = locked.reservation
AND    b.state = 'confirmed'
RETURNING b.reservation, b.exam, b.candidate, b.event, b.amount, b.currency
