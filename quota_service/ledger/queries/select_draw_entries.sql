-- A page of the entries of a draw, in order.
-- $1 exam, text
-- $2 after, bytea
-- $3 limit, bigint
SELECT leaf
FROM   draw_entries
WHERE  exam = $1
AND    leaf > $2
ORDER  BY leaf
LIMIT  $3
