-- Refunds whose seats Redis may not have back yet, oldest first.
-- $1 exam, text
-- $2 shard, integer
-- $3 limit, integer
SELECT reservation
FROM   refunds
WHERE  exam = $1
AND    split_part(reservation, '.', 2)::integer = $2
AND    seats_returned_at IS NULL
ORDER  BY refunded_at
LIMIT  $3
