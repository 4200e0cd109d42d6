-- A shard is recovered and served from now on, unless another recovery has taken over: its state,
-- where its journal goes on, and the report, in one step.
-- $1 exam, text
-- $2 epoch, bigint
-- $3 way, text
-- $4 recovered epoch, bigint: of the last step Postgres knows
-- $5 recovered version, bigint
-- $6 bookings written, bigint
-- $7 holds written, bigint
-- $8 holds left out, bigint
WITH opened AS (
    UPDATE shards
    SET    state = 'open'
    WHERE  exam = $1
    AND    epoch = $2
    AND    state = 'fenced'
    RETURNING exam, epoch
),
positioned AS (
    UPDATE journal_positions p
    SET    drained_epoch   = opened.epoch,
           drained_version = $5
    FROM   opened
    WHERE  p.exam = opened.exam
)
UPDATE recoveries r
SET    opened_at         = now(),
       way               = $3,
       recovered_epoch   = $4,
       recovered_version = $5,
       bookings          = $6,
       holds             = $7,
       holds_left_out    = $8
FROM   opened
WHERE  r.exam = opened.exam
AND    r.epoch = opened.epoch
RETURNING r.epoch
