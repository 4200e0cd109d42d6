-- Whether this transaction is the one that numbers events now. It reads by indexes from here on, whatever the
-- tables held when they were measured.
SELECT pg_try_advisory_xact_lock(hashtextextended('quota-service events', 0)) AS is_ours
FROM   set_config('enable_seqscan', 'off', true)
