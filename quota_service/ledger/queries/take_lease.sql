-- Takes or renews a lease, unless another process has it; answers a row when it is ours.
-- $1 name, text
-- $2 holder, text
-- $3 lease, interval
INSERT INTO leases (name, holder, until)
VALUES ($1, $2, clock_timestamp() + $3::interval)
ON     CONFLICT (name) DO UPDATE
SET    holder = excluded.holder,
       until  = excluded.until
WHERE  leases.holder = excluded.holder OR leases.until <= clock_timestamp()
RETURNING holder
