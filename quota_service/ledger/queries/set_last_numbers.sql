-- The last numbers of waiting lists that are locked.
-- $1 exams, text[]; the rest by position
-- $2 numbers, bigint[]
UPDATE waiting_lists l
SET    last_number = new.number
FROM   unnest($1::text[], $2::bigint[]) AS new (exam, number)
WHERE  l.exam = new.exam
