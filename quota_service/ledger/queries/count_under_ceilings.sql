-- Counts booked seats under ceilings, locked in one order; ceilings_never_oversold refuses the seat too
-- many. Answers the ceilings found.
-- $1 exams, text[]; the rest by position
-- $2 venues, text[]
-- $3 sessions, text[]
-- $4 seats, integer[]
WITH more AS (
    SELECT *
    FROM   unnest($1::text[], $2::text[], $3::text[], $4::integer[])
           AS new (exam, venue, session, seats)
),
locked AS (
    SELECT c.exam, c.venue, c.session
    FROM   ceilings c
    JOIN   more USING (exam, venue, session)
    ORDER  BY c.exam, c.venue, c.session
    FOR    NO KEY UPDATE OF c
)
UPDATE ceilings c
SET    confirmed = c.confirmed + more.seats
FROM   more
JOIN   locked USING (exam, venue, session)
WHERE  c.exam = more.exam
AND    c.venue = more.venue
AND    c.session = more.session
RETURNING c.venue
