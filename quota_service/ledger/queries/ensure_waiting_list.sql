-- The waiting list of an exam, unless it has one.
-- $1 exam, text
INSERT INTO waiting_lists (exam)
VALUES ($1)
ON     CONFLICT (exam) DO NOTHING
