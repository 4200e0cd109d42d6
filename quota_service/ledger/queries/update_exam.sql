-- A changed definition of an exam; returns its revision, and what of it is closed for sale and paused.
-- $1 exam, text
-- $2 definition, text (JSON)
UPDATE exams
SET    definition = $2::text::jsonb,
       revision   = nextval('exam_revisions'),
       updated_at = now()
WHERE  id = $1
RETURNING revision,
          closed,
          pauses::text AS pauses,
          resumed_at_ms
