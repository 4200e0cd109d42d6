-- What the drained journal knows of one reservation.
-- $1 reservation, text
SELECT record
FROM   reservations
WHERE  id = $1
