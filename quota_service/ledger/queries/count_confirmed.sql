-- Counts booked seats, one row a quota, locked in one order so that two groups never wait for each
-- other; quotas_never_oversold refuses the seat too many. Answers the quotas found, each with the session
-- of the ceiling it is under.
-- $1 exams, text[]; the rest by position
-- $2 venues, text[]
-- $3 subjects, text[]
-- $4 seats, integer[]
WITH more AS (
    SELECT *
    FROM   unnest($1::text[], $2::text[], $3::text[], $4::integer[])
           AS new (exam, venue, subject, seats)
),
locked AS (
    SELECT q.exam, q.venue, q.subject
    FROM   quotas q
    JOIN   more USING (exam, venue, subject)
    ORDER  BY q.exam, q.venue, q.subject
    FOR    NO KEY UPDATE OF q
)
UPDATE quotas q
SET    confirmed = q.confirmed + more.seats
FROM   more
JOIN   locked USING (exam, venue, subject)
WHERE  q.exam = more.exam
AND    q.venue = more.venue
AND    q.subject = more.subject
RETURNING q.exam, q.venue, q.ceiling, more.seats
