-- The rebuild a shard got its epoch by, if it ended within this time or has not ended yet.
-- $1 exam, text
-- $2 shard, integer
-- $3 epoch, bigint
-- $4 within, interval
SELECT epoch
FROM   rebuilds
WHERE  exam = $1
AND    shard = $2
AND    epoch = $3
AND    coalesce(finished_at, now()) > now() - $4::interval
