-- A page of a shard's bookings by reservation, as the records Redis keeps of them.
-- $1 exam, text
-- $2 shard, integer
-- $3 after this reservation, text
-- $4 limit, integer
SELECT reservation, record
FROM   booking_records
WHERE  exam = $1
AND    shard = $2
AND    reservation > $3
AND    state = 'confirmed'
ORDER  BY reservation
LIMIT  $4
