-- A recovery begins.
-- $1 exam, text
-- $2 shard, integer
-- $3 epoch, bigint
-- $4 reason, text
INSERT INTO recoveries (exam, shard, epoch, reason)
VALUES ($1, $2, $3, $4)
