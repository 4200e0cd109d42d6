-- The last version of an epoch of a shard that is in the journal; 0 when there is none.
-- $1 exam, text
-- $2 shard, integer
-- $3 epoch, bigint
SELECT coalesce(max(version), 0) AS version
FROM   journal
WHERE  exam = $1
AND    shard = $2
AND    epoch = $3
