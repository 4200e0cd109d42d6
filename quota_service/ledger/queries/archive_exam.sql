-- Archives an exam. Answers when it was.
-- $1 exam, text
UPDATE exams
SET    archived_at = coalesce(archived_at, now())
WHERE  id = $1
RETURNING archived_at
