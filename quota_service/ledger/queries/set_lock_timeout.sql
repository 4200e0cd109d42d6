-- How long statements of this transaction wait for a lock.
-- $1 limit in ms, text
SELECT set_config('lock_timeout', $1, true)
