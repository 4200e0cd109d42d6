-- What of an exam is closed for sale from now on; returns the revision of the definition with it.
-- $1 exam, text
-- $2 closed, text[]: venues, or venue/subject
UPDATE exams
SET    closed     = $2,
       revision   = nextval('exam_revisions'),
       updated_at = now()
WHERE  id = $1
RETURNING revision
