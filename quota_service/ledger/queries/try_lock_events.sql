-- Whether this transaction is the one that numbers events now. It reads by indexes from here on, whatever the
-- tables held when they were measured, and compiles nothing, which would take longer than the work.
SELECT pg_try_advisory_xact_lock(hashtextextended('quota-service events', 0)) AS is_ours
FROM   set_config('enable_seqscan', 'off', true) AS scans, set_config('jit', 'off', true) AS compiles
