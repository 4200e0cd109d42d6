-- Redis has opened the shard: it is served from now on.
-- $1 exam, text
-- $2 shard, integer
UPDATE shards
SET    state = 'open'
WHERE  exam = $1
AND    shard = $2
AND    state = 'new'
