-- Sets an entry aside for good.
-- $1 exam, text
-- $2 shard, integer
-- $3 entry, text
UPDATE journal_quarantine
SET    quarantined_at = now()
WHERE  exam = $1
AND    shard = $2
AND    entry = $3
