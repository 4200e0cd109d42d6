-- A page of a shard's bookings that were written after a step, in the order of those steps, as the
-- records Redis keeps of them.
-- $1 exam, text
-- $2 after this epoch, bigint
-- $3 and version, bigint
-- $4 and, of that step, after this reservation, text
-- $5 limit, integer
SELECT reservation, record, step_epoch AS epoch, step_version AS version
FROM   booking_records
WHERE  exam = $1
AND    (step_epoch, step_version, reservation) > ($2, $3, $4)
ORDER  BY step_epoch, step_version, reservation
LIMIT  $5
