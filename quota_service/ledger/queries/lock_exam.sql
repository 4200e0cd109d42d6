-- Serialises imports of one exam, also of one that does not exist yet; held to the end of the
-- transaction.
-- $1 exam, text
SELECT pg_advisory_xact_lock(hashtextextended('exam:' || $1, 0))
