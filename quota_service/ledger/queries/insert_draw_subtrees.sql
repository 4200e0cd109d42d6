-- Notes the subtrees of the frozen entries of a draw; those that were noted before are the same.
-- $1 exam, text
-- $2 number of the first, bigint
-- $3 first leaf of each, bytea[]
-- $4 root of each, bytea[]
INSERT INTO draw_subtrees (exam, number, first_leaf, root)
SELECT $1::text, $2::bigint + s.position - 1, s.first_leaf, s.root
FROM   unnest($3::bytea[], $4::bytea[]) WITH ORDINALITY AS s (first_leaf, root, position)
ON     CONFLICT DO NOTHING
