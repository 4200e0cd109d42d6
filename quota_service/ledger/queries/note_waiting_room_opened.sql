-- Notes that the waiting room of an exam has opened, if it has: its draw is over then, even if the
-- opening of the exam is moved.
-- $1 exam, text
-- $2 opens_at, timestamptz
UPDATE waiting_rooms
SET    opened_at = $2::timestamptz
WHERE  exam = $1
AND    opened_at IS NULL
AND    $2::timestamptz <= clock_timestamp()
