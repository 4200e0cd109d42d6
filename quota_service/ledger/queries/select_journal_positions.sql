-- The version each shard's journal was drained up to.
-- $1 exams, text[]
SELECT exam, drained_version
FROM   journal_positions
WHERE  exam = ANY ($1::text[])
