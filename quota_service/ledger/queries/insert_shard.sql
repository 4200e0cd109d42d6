-- A shard that Redis has not opened yet, and its journal, of which nothing is drained.
-- $1 exam, text
-- $2 shard, integer
WITH made AS (
    INSERT INTO shards (exam, shard)
    VALUES ($1, $2)
    RETURNING exam, shard
)
INSERT INTO journal_positions (exam, shard)
SELECT exam, shard
FROM   made
