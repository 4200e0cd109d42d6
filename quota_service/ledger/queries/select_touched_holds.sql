-- A page of reservations that are not booked and whose last step comes after this one, in the order
-- of those steps, as the journal last saw them.
-- $1 exam, text
-- $2 shard, integer
-- $3 after this epoch, bigint
-- $4 and version, bigint
-- $5 limit, integer
SELECT r.id AS reservation, r.record, j.epoch, j.version
FROM   journal j
JOIN   reservations r ON r.id = j.exam || '.' || j.shard || '.' || j.subject
                     AND r.epoch = j.epoch
                     AND r.version = j.version
WHERE  j.exam = $1
AND    j.shard = $2
AND    (j.epoch, j.version) > ($3, $4)
AND    NOT EXISTS (SELECT FROM bookings b WHERE b.reservation = r.id)
ORDER  BY j.epoch, j.version
LIMIT  $5
