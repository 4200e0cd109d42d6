-- The subtree that an entry of a draw is in, if it is in any: its number and its leaves, in order.
-- $1 exam, text
-- $2 leaf, bytea
-- $3 leaves of a subtree, bigint
WITH subtree AS (
    SELECT number, first_leaf
    FROM   draw_subtrees
    WHERE  exam = $1
    AND    first_leaf <= $2::bytea
    ORDER  BY first_leaf DESC
    LIMIT  1
)
SELECT s.number, e.leaf
FROM   subtree s
CROSS  JOIN LATERAL (
    SELECT leaf
    FROM   draw_entries
    WHERE  exam = $1
    AND    leaf >= s.first_leaf
    ORDER  BY leaf
    LIMIT  $3
) e
ORDER  BY e.leaf
