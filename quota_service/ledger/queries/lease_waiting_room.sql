-- Takes or renews the lease on admission, unless another has it; a lease that was lost or had
-- ended begins a new epoch. Answers the room, and how long ago its last step was.
-- $1 exam, text
-- $2 leader, text
-- $3 lease, interval
UPDATE waiting_rooms
SET    leader_epoch = leader_epoch + CASE
           WHEN leader = $2 AND lease_until > clock_timestamp() THEN 0
           ELSE 1
       END,
       leader       = $2,
       lease_until  = clock_timestamp() + $3::interval
WHERE  exam = $1
AND    (leader = $2 OR leader IS NULL OR lease_until <= clock_timestamp())
RETURNING *, extract(epoch FROM clock_timestamp() - stepped_at)::float8 AS since_step_s
