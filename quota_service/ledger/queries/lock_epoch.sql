-- A shard that has this epoch, which it keeps until this transaction ends: a fence waits.
-- $1 exam, text
-- $2 shard, integer
-- $3 epoch, bigint
SELECT state
FROM   shards
WHERE  exam = $1
AND    shard = $2
AND    epoch = $3
FOR    SHARE
