-- The shard of a new exam, which Redis has not opened yet, and its journal, of which nothing is drained.
-- $1 exam, text
WITH made AS (
    INSERT INTO shards (exam)
    VALUES ($1)
    RETURNING exam
)
INSERT INTO journal_positions (exam)
SELECT exam
FROM   made
