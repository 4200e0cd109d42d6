-- The stored definition of one exam, locked against another import.
-- $1 exam, text
SELECT definition::text AS definition
FROM   exams
WHERE  id = $1
FOR    UPDATE
