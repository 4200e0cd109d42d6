-- Seat releases that are not to happen.
-- $1 exam, text
-- $2 ids, text[]
UPDATE seat_releases
SET    state    = 'cancelled',
       ended_at = clock_timestamp()
WHERE  exam = $1
AND    id = ANY ($2::text[])
AND    state = 'planned'
