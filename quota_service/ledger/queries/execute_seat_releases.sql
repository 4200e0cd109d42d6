-- Seat releases happen: their quotas have more seats. Quotas are locked in the order of everybody.
-- $1 exam, text
-- $2 ids, text[]
WITH done AS (
    UPDATE seat_releases
    SET    state    = 'done',
           ended_at = clock_timestamp()
    WHERE  exam = $1
    AND    id = ANY ($2::text[])
    AND    state = 'planned'
    RETURNING seats
),
more AS (
    SELECT v.key AS venue, s.key AS subject, sum(s.value::integer)::integer AS seats
    FROM   done
    CROSS  JOIN LATERAL jsonb_each(done.seats) AS v
    CROSS  JOIN LATERAL jsonb_each_text(v.value) AS s
    GROUP  BY v.key, s.key
),
locked AS (
    SELECT q.venue, q.subject, more.seats
    FROM   quotas q
    JOIN   more USING (venue, subject)
    WHERE  q.exam = $1
    ORDER  BY q.venue, q.subject
    FOR    NO KEY UPDATE OF q
)
UPDATE quotas q
SET    capacity = q.capacity + locked.seats,
       released = q.released + locked.seats
FROM   locked
WHERE  q.exam = $1
AND    q.venue = locked.venue
AND    q.subject = locked.subject
