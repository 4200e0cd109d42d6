-- Notes that the seats of an instant or a seat release are being dealt, fenced by the epoch of the leader.
-- $1 exam, text
-- $2 leader_epoch, bigint
UPDATE waiting_lists
SET    is_dealing = true,
       is_due     = false
WHERE  exam = $1
AND    leader_epoch = $2
AND    lease_until > clock_timestamp()
RETURNING exam
