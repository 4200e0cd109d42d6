-- A page of the bookings at a venue that have one of some subjects, by reservation.
-- $1 exam, text
-- $2 venue, text
-- $3 subjects, text[]
-- $4 after this reservation, text
-- $5 limit, integer
SELECT b.reservation,
       b.candidate
FROM   bookings b
WHERE  b.exam = $1
AND    b.venue = $2
AND    b.state = 'confirmed'
AND    b.reservation > $4
AND    EXISTS (SELECT 1 FROM booking_items i WHERE i.reservation = b.reservation AND i.subject = ANY ($3))
ORDER  BY b.reservation
LIMIT  $5
