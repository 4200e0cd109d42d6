-- Where the history of a shard left an epoch: the last step that was taken over into the first
-- later epoch that was opened. No row while the epoch is the last one.
-- $1 exam, text
-- $2 epoch, bigint
SELECT recovered_epoch, recovered_version
FROM   recoveries
WHERE  exam = $1
AND    epoch > $2
AND    opened_at IS NOT NULL
ORDER  BY epoch
LIMIT  1
