-- The refund of one candidate for one exam, and when the money was sent back.
-- $1 exam, text
-- $2 candidate, text
SELECT r.reservation,
       r.refunded_at,
       d.amount,
       d.currency,
       d.settled_at
FROM   refunds r
JOIN   bookings b USING (reservation)
JOIN   refunds_due d ON d.event = b.event
WHERE  r.exam = $1
AND    r.candidate = $2
