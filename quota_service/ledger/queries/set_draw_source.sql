-- Gives the draw of an exam its source while it is not closed.
-- $1 exam, text
-- $2 source, text (null: none)
UPDATE waiting_rooms
SET    source = $2::text::jsonb
WHERE  exam = $1
AND    opened_at IS NULL
AND    source IS DISTINCT FROM $2::text::jsonb
