-- Decides that a draw is admitted without its source, once: not before that is due, nor where it is known.
-- $1 exam, text
-- $2 reason, text
UPDATE waiting_rooms
SET    sourceless_reason = $2::text,
       sourceless_at     = clock_timestamp()
WHERE  exam = $1
AND    (source ->> 'at')::timestamptz <= clock_timestamp()
AND    entries_root IS NOT NULL
AND    randomness IS NULL
AND    sourceless_at IS NULL
RETURNING exam
