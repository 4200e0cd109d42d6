-- Gives a shard a new epoch and closes it. It waits for transactions that hold the old one.
-- $1 exam, text
-- $2 shard, integer
UPDATE shards
SET    state = 'fenced',
       epoch = epoch + 1
WHERE  exam = $1
AND    shard = $2
AND    state IN ('open', 'fenced')
RETURNING epoch
