-- The epochs shards are open under, which stay so until this transaction ends: a fence waits.
-- $1 exams, text[]
-- $2 shards, integer[], by position
SELECT exam, shard, epoch
FROM   shards
JOIN   unnest($1::text[], $2::integer[]) AS asked (exam, shard) USING (exam, shard)
WHERE  state = 'open'
ORDER  BY exam, shard
FOR    SHARE OF shards
