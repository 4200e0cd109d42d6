-- One refund due, settled or not.
-- $1 exam, text: of this exam; null, of any or none
-- $2 id, bigint
SELECT *
FROM   refund_due_records
WHERE  id = $2
AND    ($1::text IS NULL OR exam = $1)
