-- Ids of reservations that nobody can compute who knows exam, candidate and idempotency key.

-- The key of an exam's ids is made with the exam and never changes, as a repeated request is found by
-- the id. An exam that was there before has none: its ids stay as they are.
ALTER TABLE exams
    ADD COLUMN id_key bytea CONSTRAINT exams_id_key CHECK (length(id_key) = 32);
