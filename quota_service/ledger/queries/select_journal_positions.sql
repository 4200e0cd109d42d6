-- The version every shard's journal was drained up to.
SELECT exam, shard, drained_version
FROM   journal_positions
