-- Money that has to go back, in the order it came, with what became of it at the provider.
-- $1 exam, text: of this exam; empty, what names no exam; null, all
-- $2 after this id, bigint
-- $3 limit, integer
SELECT *
FROM   refund_due_records
WHERE  ($1::text IS NULL OR exam = $1 OR ($1 = '' AND exam IS NULL))
AND    settled_at IS NULL
AND    id > $2
ORDER  BY id
LIMIT  $3
