-- Redis has nothing of a shard any more.
-- $1 exam, text
-- $2 shard, integer
-- $3 epoch, bigint: the one it was forgotten under
UPDATE shards
SET    state = 'archived'
WHERE  exam = $1
AND    shard = $2
AND    epoch = $3
AND    state = 'fenced'
