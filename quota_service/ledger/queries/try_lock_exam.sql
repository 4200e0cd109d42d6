-- The same lock as an import's, if it is free; held to the end of the transaction, which may be
-- without a word for as long as a rebuild takes.
-- $1 exam, text
SELECT pg_try_advisory_xact_lock(hashtextextended('exam:' || $1, 0)) AS locked,
       set_config('idle_in_transaction_session_timeout', '600000', true) AS silence_ms
