-- Writes an empty message into the log: the commit of it waits, as every commit does, until all that was committed
-- before is where it has to be, on a synchronous standby among others.
SELECT pg_logical_emit_message(true, 'quota-service', '')
