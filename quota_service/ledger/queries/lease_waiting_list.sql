-- Takes or renews the lease on the dealing of an exam, unless another has it; a lease that was lost or had
-- ended begins a new epoch. The exam has a list from then on.
-- $1 exam, text
-- $2 leader, text
-- $3 lease, interval
-- $4 epoch that the lease is beyond, bigint
INSERT INTO waiting_lists AS l (exam, leader, leader_epoch, lease_until)
VALUES ($1, $2, $4::bigint + 1, clock_timestamp() + $3::interval)
ON     CONFLICT (exam) DO UPDATE
SET    leader_epoch = CASE
           WHEN l.leader = $2 AND l.lease_until > clock_timestamp() AND l.leader_epoch > $4 THEN l.leader_epoch
           ELSE greatest(l.leader_epoch, $4) + 1
       END,
       leader       = $2,
       lease_until  = clock_timestamp() + $3::interval
WHERE  l.leader = $2
OR     l.leader IS NULL
OR     l.lease_until <= clock_timestamp()
RETURNING leader_epoch, is_paused, is_due, is_dealing,
          coalesce(dealt_through, created_at) AS dealt_through
