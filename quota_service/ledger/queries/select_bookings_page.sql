-- A page of an exam's bookings by reservation, each with its subjects and its payment.
-- $1 exam, text
-- $2 after this reservation, text
-- $3 limit, integer
SELECT b.reservation,
       b.candidate,
       b.venue,
       b.state,
       b.amount,
       b.currency,
       b.reserved_at,
       b.confirmed_at,
       b.event,
       p.provider_reference,
       i.subjects
FROM   bookings b
JOIN   payment_events p USING (event)
CROSS  JOIN LATERAL (
    SELECT array_agg(subject ORDER BY session) AS subjects
    FROM   booking_items
    WHERE  booking_items.reservation = b.reservation
) AS i
WHERE  b.exam = $1
AND    b.reservation > $2
ORDER  BY b.reservation
LIMIT  $3
