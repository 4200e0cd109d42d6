-- The seats of refunds are back in Redis, at these versions of their shard at the latest.
-- $1 reservations, text[]
-- $2 epoch, bigint
-- $3 versions, bigint[], by position
UPDATE refunds r
SET    seats_returned_at = now(),
       returned_epoch    = $2,
       returned_version  = told.version
FROM   unnest($1::text[], $3::bigint[]) AS told (reservation, version)
WHERE  r.reservation = told.reservation
AND    r.seats_returned_at IS NULL
