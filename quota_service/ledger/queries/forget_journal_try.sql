-- An entry that failed before was stored after all.
-- $1 exam, text
-- $2 shard, integer
-- $3 entry, text
DELETE FROM journal_quarantine
WHERE  exam = $1
AND    shard = $2
AND    entry = $3
AND    quarantined_at IS NULL
