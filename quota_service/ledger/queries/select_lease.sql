-- How long ago a lease ended, in seconds; less than 0 while it lasts.
-- $1 name, text
SELECT extract(epoch FROM clock_timestamp() - until)::float8 AS ended_s
FROM   leases
WHERE  name = $1
