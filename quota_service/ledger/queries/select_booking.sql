-- One booking with its subjects.
-- $1 reservation, text
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
WHERE  b.reservation = $1
GROUP  BY b.reservation
