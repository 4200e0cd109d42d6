-- Which of these exams still have a journal, retired as they are.
-- $1 exams, text[]
SELECT DISTINCT exam
FROM   shards
WHERE  exam = ANY ($1::text[])
AND    retired_at IS NOT NULL
AND    journal_pruned_at IS NULL
