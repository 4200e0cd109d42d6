-- What was refunded in a shard within the last day, as the records Redis keeps of it.
-- $1 exam, text
SELECT b.reservation, b.record
FROM   refunds r
JOIN   booking_records b USING (reservation)
WHERE  r.exam = $1
AND    r.refunded_at > now() - interval '1 day'
ORDER  BY b.reservation
