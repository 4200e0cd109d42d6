-- Remembers the last drained entry, in the transaction that stores it.
-- $1 exam, text
-- $2 epoch, bigint
-- $3 version, bigint
UPDATE journal_positions
SET    drained_epoch   = $2,
       drained_version = $3
WHERE  exam = $1
