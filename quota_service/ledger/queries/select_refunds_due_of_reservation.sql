-- Money of a reservation that has or had to go back, settled or not, in the order it came.
-- $1 reservation, text
-- $2 exam, text: of this exam; empty, what names no exam; null, all
-- $3 after this id, bigint
-- $4 limit, integer
SELECT *
FROM   refund_due_records
WHERE  reservation = $1
AND    ($2::text IS NULL OR exam = $2 OR ($2 = '' AND exam IS NULL))
AND    id > $3
ORDER  BY id
LIMIT  $4
