-- Ends a lease, if it is the holder's.
-- $1 name, text
-- $2 holder, text
UPDATE leases
SET    until = clock_timestamp()
WHERE  name = $1
AND    holder = $2
AND    until > clock_timestamp()
