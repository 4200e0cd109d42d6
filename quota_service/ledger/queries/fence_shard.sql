-- Gives a shard a new epoch and closes it. It waits for transactions that hold the old one.
-- $1 exam, text
-- $2 beyond this epoch, bigint: one that Redis has
-- $3 retired, boolean: whether it leaves Redis but for its counters; null for no change
UPDATE shards
SET    state             = 'fenced',
       epoch             = greatest(epoch, $2::bigint) + 1,
       retired_at        = CASE WHEN $3::boolean IS NULL THEN retired_at
                                WHEN $3::boolean THEN coalesce(retired_at, now()) END,
       journal_pruned_at = CASE WHEN $3::boolean IS NULL THEN journal_pruned_at END
WHERE  exam = $1
RETURNING epoch, retired_at IS NOT NULL AS retired, steps_since
