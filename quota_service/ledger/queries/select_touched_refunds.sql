-- Refunds whose seats Redis had back after a step, or may not have back yet.
-- $1 exam, text
-- $2 shard, integer
-- $3 after this epoch, bigint
-- $4 and version, bigint
SELECT reservation
FROM   refunds
WHERE  exam = $1
AND    split_part(reservation, '.', 2)::integer = $2
AND    ((returned_epoch, returned_version) > ($3, $4) OR seats_returned_at IS NULL)
