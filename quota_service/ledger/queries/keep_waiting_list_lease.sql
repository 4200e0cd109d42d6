-- Renews the lease on the dealing of an exam, fenced by the epoch of the leader.
-- $1 exam, text
-- $2 leader_epoch, bigint
-- $3 lease, interval
UPDATE waiting_lists
SET    lease_until = clock_timestamp() + $3::interval
WHERE  exam = $1
AND    leader_epoch = $2
AND    lease_until > clock_timestamp()
RETURNING exam
