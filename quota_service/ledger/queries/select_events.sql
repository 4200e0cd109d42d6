-- A page of events behind a number, in their order.
-- $1 after this number, bigint
-- $2 limit, integer
SELECT sequence, kind, exam, reservation, candidate, at, data
FROM   events
WHERE  sequence > $1
ORDER  BY sequence
LIMIT  $2
