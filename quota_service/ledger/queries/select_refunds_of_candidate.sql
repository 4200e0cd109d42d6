-- The refunds of one candidate for one exam, oldest first, and when their money was sent back, if there was any.
-- $1 exam, text
-- $2 candidate, text
SELECT r.reservation,
       r.refunded_at,
       r.by_ops,
       b.amount,
       b.currency,
       d.settled_at
FROM   refunds r
JOIN   bookings b USING (reservation)
LEFT   JOIN refunds_due d ON d.event = b.event
WHERE  r.exam = $1
AND    r.candidate = $2
ORDER  BY r.refunded_at, r.reservation
