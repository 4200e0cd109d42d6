-- Keeps others from carrying out extensions of an exam, if none does; held to the end of the transaction.
-- $1 exam, text
SELECT pg_try_advisory_xact_lock(hashtextextended('extend:' || $1, 0)) AS locked
