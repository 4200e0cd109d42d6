-- A new exam.
-- $1 exam, text
-- $2 definition, text (JSON)
INSERT INTO exams (id, definition)
VALUES ($1, $2::text::jsonb)
