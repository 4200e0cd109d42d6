-- Something of an exam is another that processes keep in memory; returns the new revision.
-- $1 exam, text
UPDATE exams
SET    revision   = nextval('exam_revisions'),
       updated_at = now()
WHERE  id = $1
RETURNING revision
