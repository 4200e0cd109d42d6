-- A shard is rebuilt: it is served from now on, unless another rebuild has taken over.
-- $1 exam, text
-- $2 shard, integer
-- $3 epoch, bigint
UPDATE shards
SET    state = 'open'
WHERE  exam = $1
AND    shard = $2
AND    epoch = $3
AND    state = 'fenced'
RETURNING epoch
