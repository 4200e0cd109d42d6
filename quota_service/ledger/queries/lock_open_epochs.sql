-- The epochs shards are open under, which stay so until this transaction ends: a fence waits.
-- $1 exams, text[]
SELECT exam, epoch
FROM   shards
JOIN   unnest($1::text[]) AS asked (exam) USING (exam)
WHERE  state = 'open'
ORDER  BY exam
FOR    SHARE OF shards
