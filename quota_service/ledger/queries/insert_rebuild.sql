-- A rebuild begins.
-- $1 exam, text
-- $2 shard, integer
-- $3 epoch, bigint
-- $4 reason, text
INSERT INTO rebuilds (exam, shard, epoch, reason)
VALUES ($1, $2, $3, $4)
