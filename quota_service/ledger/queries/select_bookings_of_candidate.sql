-- The bookings of one candidate for one exam.
-- $1 exam, text
-- $2 candidate, text
SELECT b.reservation,
       b.exam,
       b.candidate,
       b.venue,
       b.amount,
       b.currency,
       b.reserved_at,
       b.state,
       b.request_hash,
       b.first_deadline,
       b.first_venue,
       array_agg(i.subject ORDER BY i.position, i.session) AS subjects,
       array_agg(i.session ORDER BY i.position, i.session) AS sessions
FROM   bookings b
JOIN   booking_items i USING (reservation)
WHERE  b.exam = $1
AND    b.candidate = $2
GROUP  BY b.reservation
ORDER  BY b.confirmed_at
LIMIT  1000
