-- After how long without a statement Postgres ends this transaction.
-- $1 limit in ms, text
SELECT set_config('idle_in_transaction_session_timeout', $1, true)
