-- Captured payments of an exam without an end: neither a booking nor money that is due back. What
-- repeats another event has the end of that.
-- $1 exam, text
-- $2 received after, timestamptz
SELECT p.event, p.outcome
FROM   payment_events p
LEFT   JOIN bookings b USING (event)
LEFT   JOIN refunds_due d USING (event)
WHERE  split_part(p.reservation, '.', 1) = $1
AND    p.received_at > $2
AND    p.status = 'captured'
AND    p.repeats IS NULL
AND    ((p.outcome = 'confirmed' AND b.event IS NULL)
        OR (p.outcome = 'refund_due' AND d.event IS NULL)
        OR (b.state = 'refunded' AND d.event IS NULL AND b.amount > 0))
ORDER  BY p.event
LIMIT  100
