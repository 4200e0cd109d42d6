-- A page of a shard's bookings by reservation, as the records Redis keeps of them.
-- $1 exam, text
-- $2 after this reservation, text
-- $3 limit, integer
SELECT reservation, record
FROM   booking_records
WHERE  exam = $1
AND    reservation > $2
AND    state = 'confirmed'
ORDER  BY reservation
LIMIT  $3
