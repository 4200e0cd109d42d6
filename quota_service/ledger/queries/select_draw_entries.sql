-- The entries of a draw, in order.
-- $1 exam, text
SELECT leaf
FROM   draw_entries
WHERE  exam = $1
ORDER  BY leaf
