-- Sets the ceilings of an exam, whose quotas are locked: those it has not any more go, and of each what is
-- booked is counted anew. ceilings_never_oversold refuses one below that.
-- $1 exam, text
-- $2 subjects, text[]
-- $3 session of each, text[], by position
-- $4 venues of ceilings, text[]
-- $5 sessions, text[], by position
-- $6 seats, integer[], by position
WITH new AS (
    SELECT *
    FROM   unnest($4::text[], $5::text[], $6::integer[]) AS n (venue, session, seats)
),
wanted AS (
    SELECT q.venue, q.subject, q.confirmed, new.session
    FROM   quotas q
    LEFT   JOIN unnest($2::text[], $3::text[]) AS s (subject, session) ON s.subject = q.subject
    LEFT   JOIN new ON new.venue = q.venue AND new.session = s.session
    WHERE  q.exam = $1
),
placed AS (
    UPDATE quotas q
    SET    ceiling = wanted.session
    FROM   wanted
    WHERE  q.exam = $1
    AND    q.venue = wanted.venue
    AND    q.subject = wanted.subject
    AND    q.ceiling IS DISTINCT FROM wanted.session
),
gone AS (
    DELETE FROM ceilings c
    WHERE  c.exam = $1
    AND    NOT EXISTS (SELECT FROM new WHERE new.venue = c.venue AND new.session = c.session)
)
INSERT INTO ceilings (exam, venue, session, seats, confirmed)
SELECT $1, new.venue, new.session, new.seats, coalesce(sum(wanted.confirmed), 0)
FROM   new
LEFT   JOIN wanted ON wanted.venue = new.venue AND wanted.session = new.session
GROUP  BY new.venue, new.session, new.seats
ORDER  BY new.venue, new.session
ON CONFLICT ON CONSTRAINT ceilings_pk DO UPDATE
SET    seats     = excluded.seats,
       confirmed = excluded.confirmed
