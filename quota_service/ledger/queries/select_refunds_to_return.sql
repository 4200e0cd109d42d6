-- Refunds whose seats Redis may not have back yet, oldest first.
-- $1 exam, text
-- $2 limit, integer
SELECT reservation
FROM   refunds
WHERE  exam = $1
AND    seats_returned_at IS NULL
ORDER  BY refunded_at
LIMIT  $2
