-- Holds a process had acknowledged and a rebuild did not find, and how many it could put back.
-- $1 exam, text
-- $2 shard, integer
-- $3 epoch, bigint
-- $4 lost, bigint
-- $5 restored, bigint
UPDATE rebuilds
SET    holds_lost     = holds_lost + $4,
       holds_restored = holds_restored + $5
WHERE  exam = $1
AND    shard = $2
AND    epoch = $3
