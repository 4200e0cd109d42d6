-- Redis has opened the shard: it is served from now on.
-- $1 exam, text
UPDATE shards
SET    state = 'open'
WHERE  exam = $1
AND    state = 'new'
