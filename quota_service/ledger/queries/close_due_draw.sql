-- Closes the draw of an exam with a source once its entries are to close, by this clock, and its room was
-- not closed by Redis's within 5 s.
-- $1 exam, text
UPDATE waiting_rooms
SET    opened_at = clock_timestamp()
WHERE  exam = $1
AND    opened_at IS NULL
AND    (source ->> 'entries_close_at')::timestamptz < clock_timestamp() - interval '5 s'
RETURNING exam
