-- Whether this transaction is the one that numbers events now.
SELECT pg_try_advisory_xact_lock(hashtextextended('quota-service events', 0))
