-- A shard that has this epoch, which it keeps until this transaction ends: a fence waits.
-- $1 exam, text
-- $2 epoch, bigint
SELECT state
FROM   shards
WHERE  exam = $1
AND    epoch = $2
FOR    SHARE
