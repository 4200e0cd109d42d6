-- A changed definition of an exam.
-- $1 exam, text
-- $2 definition, text (JSON)
UPDATE exams
SET    definition = $2::text::jsonb,
       revision   = revision + 1,
       updated_at = now()
WHERE  id = $1
