-- Notes that they were dealt, fenced by the epoch of the leader.
-- $1 exam, text
-- $2 leader_epoch, bigint
-- $3 the instant they were dealt through, timestamptz
UPDATE waiting_lists
SET    is_dealing    = false,
       dealt_through = greatest(dealt_through, $3::timestamptz)
WHERE  exam = $1
AND    leader_epoch = $2
AND    lease_until > clock_timestamp()
RETURNING exam
