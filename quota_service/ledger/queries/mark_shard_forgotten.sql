-- Redis has nothing of a shard any more.
-- $1 exam, text
-- $2 epoch, bigint: the one it was forgotten under
UPDATE shards
SET    state = 'archived'
WHERE  exam = $1
AND    epoch = $2
AND    state = 'fenced'
