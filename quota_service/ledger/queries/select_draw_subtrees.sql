-- The roots of the subtrees of a draw, in order.
-- $1 exam, text
SELECT root
FROM   draw_subtrees
WHERE  exam = $1
ORDER  BY number
