-- What of an exam is paused from now on, under a revision that `next_revision` gave.
-- $1 exam, text
-- $2 pauses, text (JSON)
-- $3 revision, bigint
UPDATE exams
SET    pauses     = $2::text::jsonb,
       revision   = $3,
       updated_at = now()
WHERE  id = $1
