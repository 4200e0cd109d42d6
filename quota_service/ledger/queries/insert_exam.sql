-- A new exam.
-- $1 exam, text
-- $2 definition, text (JSON)
-- $3 key of its reservation ids, bytea
INSERT INTO exams (id, definition, id_key)
VALUES ($1, $2::text::jsonb, $3)
