-- The subtree that an entry of a draw would be in: its number and its leaves, in order. The last one ends
-- behind every leaf.
-- $1 exam, text
-- $2 leaf, bytea
WITH bounds AS (
    SELECT number, first_leaf,
           lead(first_leaf, 1, decode(repeat('ff', 33), 'hex')) OVER (ORDER BY number) AS next_leaf
    FROM   draw_subtrees
    WHERE  exam = $1
)
SELECT b.number, e.leaf
FROM   bounds b
JOIN   draw_entries e ON e.exam = $1
                     AND e.leaf >= b.first_leaf
                     AND e.leaf < b.next_leaf
WHERE  b.first_leaf <= $2::bytea
AND    b.next_leaf > $2::bytea
ORDER  BY e.leaf
