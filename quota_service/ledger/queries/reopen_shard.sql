-- A shard is recovered and served from now on, unless another recovery has taken over: its state,
-- where its journal goes on, and the report, in one step.
-- $1 exam, text
-- $2 shard, integer
-- $3 epoch, bigint
-- $4 way, text
-- $5 recovered epoch, bigint: of the last step Postgres knows
-- $6 recovered version, bigint
-- $7 bookings written, bigint
-- $8 holds written, bigint
-- $9 holds left out, bigint
WITH opened AS (
    UPDATE shards
    SET    state = 'open'
    WHERE  exam = $1
    AND    shard = $2
    AND    epoch = $3
    AND    state = 'fenced'
    RETURNING exam, shard, epoch
),
positioned AS (
    UPDATE journal_positions p
    SET    drained_epoch   = opened.epoch,
           drained_version = $6
    FROM   opened
    WHERE  p.exam = opened.exam
    AND    p.shard = opened.shard
)
UPDATE recoveries r
SET    opened_at         = now(),
       way               = $4,
       recovered_epoch   = $5,
       recovered_version = $6,
       bookings          = $7,
       holds             = $8,
       holds_left_out    = $9
FROM   opened
WHERE  r.exam = opened.exam
AND    r.shard = opened.shard
AND    r.epoch = opened.epoch
RETURNING r.epoch
