-- A rebuild is done; what it read and wrote.
-- $1 exam, text
-- $2 shard, integer
-- $3 epoch, bigint
-- $4 recovered epoch, bigint
-- $5 recovered version, bigint
-- $6 bookings, bigint
-- $7 holds, bigint
-- $8 holds left out, bigint
UPDATE rebuilds
SET    finished_at       = now(),
       recovered_epoch   = $4,
       recovered_version = $5,
       bookings          = $6,
       holds             = $7,
       holds_left_out    = $8
WHERE  exam = $1
AND    shard = $2
AND    epoch = $3
