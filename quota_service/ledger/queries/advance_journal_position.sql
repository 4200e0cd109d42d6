-- Remembers the last drained entry, in the transaction that stores it.
-- $1 exam, text
-- $2 shard, integer
-- $3 epoch, bigint
-- $4 version, bigint
UPDATE journal_positions
SET    drained_epoch   = $3,
       drained_version = $4
WHERE  exam = $1
AND    shard = $2
