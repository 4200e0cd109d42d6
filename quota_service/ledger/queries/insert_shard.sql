-- A shard that Redis has not opened yet.
-- $1 exam, text
-- $2 shard, integer
INSERT INTO shards (exam, shard)
VALUES ($1, $2)
