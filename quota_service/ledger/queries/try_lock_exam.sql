-- The same lock as an import's, if it is free; held to the end of the transaction.
-- $1 exam, text
SELECT pg_try_advisory_xact_lock(hashtextextended('exam:' || $1, 0)) AS locked
