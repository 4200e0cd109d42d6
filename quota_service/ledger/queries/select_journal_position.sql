-- The last drained entry of a shard.
-- $1 exam, text
SELECT drained_epoch, drained_version
FROM   journal_positions
WHERE  exam = $1
