-- Refunds whose seats Redis had back after a step, or may not have back yet.
-- $1 exam, text
-- $2 after this epoch, bigint
-- $3 and version, bigint
SELECT reservation
FROM   refunds
WHERE  exam = $1
AND    ((returned_epoch, returned_version) > ($2, $3) OR seats_returned_at IS NULL)
