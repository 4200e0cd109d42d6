-- Notes what the source of a draw has come to, once: not before it comes, nor where ops have opened without
-- it.
-- $1 exam, text
-- $2 evidence, text
-- $3 randomness, bytea
UPDATE waiting_rooms
SET    source_evidence = $2::text,
       randomness      = $3::bytea,
       source_known_at = clock_timestamp()
WHERE  exam = $1
AND    (source ->> 'at')::timestamptz <= clock_timestamp()
AND    entries_root IS NOT NULL
AND    randomness IS NULL
AND    sourceless_at IS NULL
RETURNING exam
