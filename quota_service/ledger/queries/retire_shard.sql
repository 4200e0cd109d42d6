-- A shard leaves Redis but for its counters, or comes back whole; answers it if that is a change.
-- $1 exam, text
-- $2 shard, integer
-- $3 retired, boolean
UPDATE shards
SET    retired_at        = CASE WHEN $3::boolean THEN now() END,
       journal_pruned_at = NULL
WHERE  exam = $1
AND    shard = $2
AND    (retired_at IS NOT NULL) <> $3::boolean
RETURNING shard
