-- The last drained entry of a shard, locked for the one worker that drains it now; no row when
-- another worker has it.
-- $1 exam, text
SELECT drained_epoch, drained_version
FROM   journal_positions
WHERE  exam = $1
FOR    UPDATE SKIP LOCKED
